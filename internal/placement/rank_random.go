package placement

// random takes any node. Each draws a lot that depends on nothing but the
// request's seed and the node's ID, so that one seed gives one answer.
type random struct{}

func (random) name() string { return "random" }

func (random) weigh(n *Node, q *query) (weight float64, count int) {
	if q.Rand == nil {
		return 0, 0
	}
	return lot(q.seed, n.ID), 0
}

// lot gives a number from 0 to 1: an FNV hash of the ID that starts at the seed,
// and the last steps of SplitMix64, which let each bit count.
func lot(seed uint64, id string) float64 {
	h := seed
	for i := range len(id) {
		h = (h ^ uint64(id[i])) * 0x100000001b3
	}
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return float64((h^h>>31)>>11) / (1 << 53)
}
