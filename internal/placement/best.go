package placement

// Best returns the index in nodes of the one that [Policy.Place] would put
// first, and fails as Place does. The random strategy draws anew for each call.
//
// It is for who needs one node and is asked often: it costs one walk over the
// nodes, and what it allocates does not grow with them.
func (p *Policy) Best(nodes []*Node, req *Request) (int, error) {
	q, err := p.ask(nodes, req)
	if err != nil {
		return 0, err
	}
	first := favourite{at: -1, wishes: p.wishes(q)}
	for i, n := range nodes {
		// To weigh a node is quicker than to ask the filters, and most nodes
		// cannot win.
		if c := p.candidate(n, q); !first.outweighs(c) && p.admits(n, q) {
			first.challenge(i, c)
		}
	}
	if first.at < 0 {
		return 0, p.explain(nodes, q)
	}
	return first.at, nil
}

// favourite is the best candidate so far.
//
// To narrow candidates down by one wish after the other, and to drop those that
// nobody grants, is to prefer who grants the first wish on which two differ. So
// two can be compared without knowing the others.
type favourite struct {
	at int // its index; -1 when there is none yet
	candidate
	wishes  []wish
	granted []bool // by it, one for one with wishes
}

// outweighs reports whether it stays the favourite whatever the filters say of c.
func (f *favourite) outweighs(c candidate) bool {
	return f.at >= 0 && len(f.wishes) == 0 && compareCandidates(f.candidate, c) < 0
}

// challenge lets another one take its place, if that is better.
func (f *favourite) challenge(at int, c candidate) {
	if f.at < 0 {
		f.granted = make([]bool, len(f.wishes))
		f.yield(at, c, 0)
		return
	}
	for i := range f.wishes {
		switch granted := f.wishes[i].grantedBy(c.node); {
		case granted == f.granted[i]:
		case granted:
			f.yield(at, c, i)
			return
		default:
			return
		}
	}
	if compareCandidates(c, f.candidate) < 0 {
		f.at, f.candidate = at, c // what they grant is the same
	}
}

// yield makes c the favourite, which grants the wishes before known as the
// former one did.
func (f *favourite) yield(at int, c candidate, known int) {
	f.at, f.candidate = at, c
	for i := known; i < len(f.wishes); i++ {
		f.granted[i] = f.wishes[i].grantedBy(c.node)
	}
}
