package metrics

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// text is written in Prometheus' text format 0.0.4: a family's help and type,
// then its samples.
type text struct{ b []byte }

func (t *text) family(name, kind, help string) {
	t.b = append(t.b, "# HELP "+name+" "+help+"\n# TYPE "+name+" "+kind+"\n"...)
}

// sample writes a value; labels are names and values by turns.
func (t *text) sample(name string, value float64, labels ...string) {
	t.b = append(t.b, name...)
	for i := 0; i+1 < len(labels); i += 2 {
		t.b = append(t.b, "{,"[min(i, 1)])
		t.b = append(t.b, labels[i]+`="`+escapeLabel.Replace(labels[i+1])+`"`...)
	}
	if len(labels) > 1 {
		t.b = append(t.b, '}')
	}
	t.b = append(t.b, ' ')
	t.b = strconv.AppendFloat(t.b, value, 'g', -1, 64)
	t.b = append(t.b, '\n')
}

var escapeLabel = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

// value writes a family of one sample.
func (t *text) value(name, kind, help string, value float64) {
	t.family(name, kind, help)
	t.sample(name, value)
}

// byLabel writes a family of which the samples differ in one label.
func (t *text) byLabel(name, kind, help, label string, values map[string]uint64) {
	t.family(name, kind, help)
	for _, v := range slices.Sorted(maps.Keys(values)) {
		t.sample(name, float64(values[v]), label, v)
	}
}

// histogram writes the buckets, each with all below it, the sum and the count.
func (t *text) histogram(name string, h *histogram, labels ...string) {
	all := uint64(0)
	for i, n := range h.counts {
		all += n
		bound := "+Inf"
		if i < len(buckets) {
			bound = strconv.FormatFloat(buckets[i], 'g', -1, 64)
		}
		t.sample(name+"_bucket", float64(all), append(slices.Clip(labels), "le", bound)...)
	}
	t.sample(name+"_sum", h.sum, labels...)
	t.sample(name+"_count", float64(all), labels...)
}
