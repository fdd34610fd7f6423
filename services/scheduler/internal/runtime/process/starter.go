package process

import (
	"errors"
	"os/exec"
	"runtime"
	"sync"
)

// starter starts processes from one thread that lives as long as the runtime: the
// kernel ends a process with PR_SET_PDEATHSIG when the thread that started it ends,
// not the program (prctl(2)).
type starter struct {
	jobs chan job
	stop chan struct{}
	once sync.Once
}

type job struct {
	cmd  *exec.Cmd
	done chan error
}

var errStopped = errors.New("the runtime has stopped")

func newStarter() *starter {
	s := &starter{jobs: make(chan job), stop: make(chan struct{})}
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		for {
			select {
			case j := <-s.jobs:
				j.done <- j.cmd.Start()
			case <-s.stop:
				return
			}
		}
	}()
	return s
}

func (s *starter) start(cmd *exec.Cmd) error {
	j := job{cmd, make(chan error, 1)}
	select {
	case s.jobs <- j:
		return <-j.done
	case <-s.stop:
		return errStopped
	}
}

// close ends the thread, and with it whatever it started and is still there.
func (s *starter) close() { s.once.Do(func() { close(s.stop) }) }
