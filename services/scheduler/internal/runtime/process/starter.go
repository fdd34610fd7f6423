package process

import (
	"os/exec"
	"runtime"
)

// starter starts processes from one thread that lives as long as the runtime: the
// kernel ends a process with PR_SET_PDEATHSIG when the thread that started it ends,
// not the program (prctl(2)).
type starter struct {
	jobs chan job
}

type job struct {
	cmd  *exec.Cmd
	done chan error
}

func newStarter() *starter {
	s := &starter{jobs: make(chan job)}
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		for j := range s.jobs {
			j.done <- j.cmd.Start()
		}
	}()
	return s
}

func (s *starter) start(cmd *exec.Cmd) error {
	j := job{cmd, make(chan error, 1)}
	s.jobs <- j
	return <-j.done
}

// close ends the thread, and with it whatever it started and is still there.
func (s *starter) close() { close(s.jobs) }
