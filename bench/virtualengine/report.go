package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
)

// report is what a run found.
type report struct {
	Engines, Containers, Clients int
	Processors                   int
	LoadBefore, LoadAfter        string // averages over 1, 5 and 15 minutes
	Figures                      []figure
	Memory                       []sample
	Missed                       int // goals
}

type figure struct {
	Name  string
	Value float64
	Unit  string
	Goal  *float64 `json:",omitempty"` // at most; nil for what is shown for comparison
	Met   *bool    `json:",omitempty"`
}

// sample is the manager's resident memory after so many create/remove cycles.
type sample struct {
	Cycles int
	MiB    float64
}

func newReport(o options) *report {
	return &report{Engines: o.engines, Containers: o.containers, Clients: o.clients, Processors: runtime.NumCPU(), LoadBefore: load()}
}

func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	return strings.Join(strings.Fields(string(b))[:3], " ")
}

func (r *report) addFigure(name string, value float64, unit string) {
	r.Figures = append(r.Figures, figure{Name: name, Value: round(value), Unit: unit})
	fmt.Fprintf(os.Stderr, "%s: %.2f %s\n", name, value, unit)
}

// addMost adds a figure that should be at most goal.
func (r *report) addMost(name string, value, goal float64, unit string) {
	met := value <= goal
	if !met {
		r.Missed++
	}
	r.Figures = append(r.Figures, figure{Name: name, Value: round(value), Unit: unit, Goal: &goal, Met: &met})
	fmt.Fprintf(os.Stderr, "%s: %.2f %s (goal: at most %g)\n", name, value, unit, goal)
}

func round(v float64) float64 { return math.Round(v*100) / 100 }

func (r *report) finish() { r.LoadAfter = load() }

func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "%d engines, %d containers, %d clients; %d processors, load average %s before and %s after\n\n",
		r.Engines, r.Containers, r.Clients, r.Processors, r.LoadBefore, r.LoadAfter)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "FIGURE\tMEASURED\tGOAL\t")
	for _, f := range r.Figures {
		goal, verdict := "", ""
		if f.Goal != nil {
			goal, verdict = fmt.Sprintf("≤ %g %s", *f.Goal, f.Unit), "met"
			if !*f.Met {
				verdict = "MISSED"
			}
		}
		fmt.Fprintf(t, "%s\t%.2f %s\t%s\t%s\n", f.Name, f.Value, f.Unit, goal, verdict)
	}
	_ = t.Flush() // w is a terminal or a file; there is nowhere to tell
	if len(r.Memory) > 0 {
		fmt.Fprint(w, "\nmemory after create/remove cycles:")
		for _, s := range r.Memory {
			fmt.Fprintf(w, "  %d: %.0f MiB", s.Cycles, s.MiB)
		}
		fmt.Fprintln(w)
	}
}
