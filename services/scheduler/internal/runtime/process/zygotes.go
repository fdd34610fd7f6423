package process

import (
	"context"
	"maps"
	"os"
	"sync"
	"time"
)

// ZygoteOptions bound the processes that fork agents.
type ZygoteOptions struct {
	// Max is how many there are at once; 0: agents are always started.
	Max int
	// MemoryBytes bounds each; 0: no bound.
	MemoryBytes int64
	// Idle is how long one is kept that nobody wants a fork of.
	Idle time.Duration
}

// failedRest is how long an environment whose zygote failed is left without one.
const failedRest = 10 * time.Minute

// zygotes has at most one zygote for each environment. An agent never fails for want of
// one: it is then started as a process of its own.
type zygotes struct {
	options Options
	host    string
	box     *box
	starter *starter

	mu     sync.Mutex
	count  int // of those ever started
	living map[string]*zygote
	failed map[string]time.Time // environments, and until when they go without
	closed bool
	done   sync.WaitGroup
}

func newZygotes(options Options, host string, b *box, s *starter) *zygotes {
	return &zygotes{options: options, host: host, box: b, starter: s, living: map[string]*zygote{}, failed: map[string]time.Time{}}
}

// order returns a file at whose other end a fork of the environment's zygote waits to be
// told what it is; nil when the agent is to be started. It waits for a zygote that has
// just been started: that imports once what each agent would import itself.
func (z *zygotes) order(environment string, stop <-chan struct{}) *os.File {
	y := z.want(environment)
	if y == nil {
		return nil
	}
	defer z.unwant(y)
	select {
	case <-y.ready:
	case <-stop:
		return nil
	}
	if y.why != "" {
		return nil
	}
	order, err := y.order()
	if err != nil {
		z.options.Log.WarnContext(context.Background(), "a zygote took no order; the agent is started without it", "environment", environment, "error", err)
		y.stop()
		return nil
	}
	return order
}

// want finds or starts the environment's zygote; nil when it is to have none.
func (z *zygotes) want(environment string) *zygote {
	z.mu.Lock()
	defer z.mu.Unlock()
	now := time.Now()
	if y := z.living[environment]; y != nil && !y.stopping() {
		y.used = now
		y.waiting++
		return y
	}
	if z.closed || now.Before(z.failed[environment]) || !z.room() {
		return nil
	}
	y, err := z.spawn(environment)
	if err != nil {
		z.fail(environment, err.Error(), "")
		return nil
	}
	y.used, y.waiting = now, 1
	z.living[environment] = y
	z.done.Add(1)
	go z.keep(y)
	return y
}

func (z *zygotes) unwant(y *zygote) {
	z.mu.Lock()
	defer z.mu.Unlock()
	y.waiting--
	y.used = time.Now()
}

// room makes place for one more: the one that was used least recently goes, but not one
// that somebody waits for.
func (z *zygotes) room() bool {
	if len(z.living) < z.options.Zygotes.Max {
		return true
	}
	var oldest *zygote
	for _, y := range z.living {
		if y.waiting == 0 && !y.stopping() && (oldest == nil || y.used.Before(oldest.used)) {
			oldest = y
		}
	}
	if oldest == nil {
		return false
	}
	oldest.stop()
	delete(z.living, oldest.environment) // it has its end before it, not its use
	return true
}

// keep is the life of one zygote.
func (z *zygotes) keep(y *zygote) {
	defer z.done.Done()
	go func() {
		_ = y.cmd.Wait()
		close(y.gone)
	}()
	err := z.box.enterZygote(y.name, y.cmd.Process.Pid)
	var said born
	if err == nil {
		said, err = y.await(z.options.Zygotes.MemoryBytes)
	}
	if err != nil {
		y.why = err.Error()
		y.stop()
	} else {
		z.options.Log.InfoContext(context.Background(), "a zygote is ready", "environment", y.environment, "pid", y.cmd.Process.Pid,
			"memory_mb", said.Memory>>20, "modules", said.Modules, "ms", said.MS)
	}
	close(y.ready)
	z.mind(y)
	z.bury(y)
}

// mind returns when a zygote has ended or is to end.
func (z *zygotes) mind(y *zygote) {
	for {
		z.mu.Lock()
		rest := z.options.Zygotes.Idle - time.Since(y.used)
		if y.waiting > 0 {
			rest = z.options.Zygotes.Idle
		}
		if rest <= 0 {
			y.stop()
		}
		z.mu.Unlock()
		select {
		case <-y.end:
			return
		case <-y.gone:
			return
		case <-time.After(max(rest, 0)):
		}
	}
}

// bury ends a zygote's process and removes what it leaves behind. One that ended unasked
// while it imported is not tried again for a while; one that had forked is, at the next
// need.
func (z *zygotes) bury(y *zygote) {
	_ = y.control.Close()
	select {
	case <-y.gone:
	case <-time.After(zygoteEnd):
		_ = y.cmd.Process.Kill()
		<-y.gone
	}
	z.box.removeZygote(y.name)
	if err := os.RemoveAll(y.scratch); err != nil {
		z.options.Log.WarnContext(context.Background(), "scratch files of a zygote stay behind", "error", err)
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.living[y.environment] == y {
		delete(z.living, y.environment)
	}
	switch {
	case z.closed:
	case y.why != "":
		z.fail(y.environment, y.why, y.words.String())
	case !y.stopping():
		z.options.Log.WarnContext(context.Background(), "a zygote ended by itself; the next agent of its environment starts another",
			"environment", y.environment, "ended", y.cmd.ProcessState.String(), "said", y.words.String())
	}
}

// fail leaves an environment without a zygote for a while.
func (z *zygotes) fail(environment, reason, said string) {
	now := time.Now()
	maps.DeleteFunc(z.failed, func(_ string, until time.Time) bool { return now.After(until) })
	z.failed[environment] = now.Add(failedRest)
	z.options.Log.WarnContext(context.Background(), "agents of an environment are started one by one, for it has no zygote",
		"environment", environment, "for", failedRest, "reason", reason, "said", said)
}

// close ends all and waits for it.
func (z *zygotes) close() {
	z.mu.Lock()
	z.closed = true
	for _, y := range z.living {
		y.stop()
	}
	z.mu.Unlock()
	z.done.Wait()
}
