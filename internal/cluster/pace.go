package cluster

import "time"

const (
	// probesPerSecond is what a manager spends on asking healthy engines whether
	// they are there, over all of them: with many engines each is asked less often.
	probesPerSecond = 150
	probeOften      = 3 * time.Second
	// probeSeldom bounds that. A probe comes at most one and a quarter intervals
	// after the last; with the three that must fail, of two seconds each, an
	// engine that hangs is known as such within 15 s.
	probeSeldom = 6500 * time.Millisecond
)

// probeInterval is the time between probes of one of so many engines.
func probeInterval(engines int) time.Duration {
	return min(max(probeOften, time.Duration(engines)*time.Second/probesPerSecond), probeSeldom)
}

// pace suits the engines' probes to their number, unless they were given a pace.
func (c *Cluster) pace() {
	if c.cfg.ProbeInterval != 0 {
		return
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	interval := probeInterval(len(c.members))
	for _, m := range c.members {
		m.SetProbeInterval(interval)
	}
}
