package sleep

import "time"

// overFor is how long there must have been too few processes until there are more: a
// moment's rush is over before another one has started.
const overFor = 2 * time.Second

// pace decides how many processes of one role there are, from how many were needed.
type pace struct {
	// began is when the number was last made greater, or looked at first.
	began time.Time
	// had is how many there were.
	had int
	// over is since when there are too few, by how many at least.
	over  time.Time
	lacks int
	// peaks are the greatest numbers of late, the latest last, each less than the one
	// before it.
	peaks []peak
}

type peak struct {
	at     time.Time
	needed int
}

// decide takes how many there are and are needed, and returns how many there shall be:
// more soon, fewer one by one when no more were needed for as long as down.
func (p *pace) decide(now time.Time, there, needed int, down time.Duration) int {
	if there > p.had { // a promotion makes it greater, too
		p.began = now
	}
	p.had = there
	p.note(now, needed, down)
	if needed > there {
		return p.grow(now, there, needed)
	}
	p.over = time.Time{}
	if p.peaks[0].needed < there && now.Sub(p.began) >= down {
		return there - 1
	}
	return there
}

func (p *pace) grow(now time.Time, there, needed int) int {
	if p.over.IsZero() {
		p.over, p.lacks = now, needed
	}
	p.lacks = min(p.lacks, needed)
	if now.Sub(p.over) < overFor {
		return there
	}
	p.over, p.began = time.Time{}, now
	return p.lacks
}

// note keeps of the numbers those that can still be the greatest of the last while.
func (p *pace) note(now time.Time, needed int, while time.Duration) {
	for len(p.peaks) > 0 && p.peaks[len(p.peaks)-1].needed <= needed {
		p.peaks = p.peaks[:len(p.peaks)-1]
	}
	p.peaks = append(p.peaks, peak{now, needed})
	for now.Sub(p.peaks[0].at) > while {
		p.peaks = p.peaks[1:]
	}
}
