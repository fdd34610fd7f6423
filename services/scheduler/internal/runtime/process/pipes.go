package process

import (
	"errors"
	"os"
	"sync"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runtime/lines"
)

// ends are one side of the pipes between the runtime and a process.
type ends struct{ launch, log, status, stdout, stderr, gate *os.File }

// pipes are how the runtime and a process talk (see pkg/agentenv).
type pipes struct {
	ours, theirs ends
	null         *os.File
	readers      sync.WaitGroup
}

func openPipes() (*pipes, error) {
	p := &pipes{}
	var errs []error
	open := func(read, write **os.File) {
		r, w, err := os.Pipe()
		*read, *write = r, w
		errs = append(errs, err)
	}
	open(&p.theirs.launch, &p.ours.launch)
	open(&p.theirs.gate, &p.ours.gate)
	open(&p.ours.log, &p.theirs.log)
	open(&p.ours.status, &p.theirs.status)
	open(&p.ours.stdout, &p.theirs.stdout)
	open(&p.ours.stderr, &p.theirs.stderr)
	null, err := os.Open(os.DevNull)
	p.null = null
	if err := errors.Join(append(errs, err)...); err != nil {
		p.close()
		p.closeTheirs()
		return nil, err
	}
	return p, nil
}

// extra are the descriptors from 3 on. Only a server gets the socket.
func (p *pipes) extra(socket *os.File, role agentenv.Role) []*os.File {
	if role != agentenv.RoleServer {
		socket = p.null
	}
	return []*os.File{p.theirs.launch, socket, p.theirs.log, p.theirs.status, p.theirs.gate}
}

// each reads a pipe line by line until its end. It never blocks the process for longer
// than take does, and cuts lines that are too long.
func (p *pipes) each(from *os.File, take func(line []byte)) {
	p.readers.Go(func() { lines.Each(from, agentenv.MaxLine, take) })
}

// finish reads what is left in the pipes of a process that has ended.
func (p *pipes) finish(limit time.Duration) {
	deadline := time.Now().Add(limit)
	for _, f := range []*os.File{p.ours.log, p.ours.status, p.ours.stdout, p.ours.stderr} {
		_ = f.SetReadDeadline(deadline) // a child of the process may hold the other end
	}
	p.readers.Wait()
}

func (p *pipes) closeTheirs() { closeAll(p.theirs.all()) }

func (p *pipes) close() { closeAll(append(p.ours.all(), p.null)) }

func (e ends) all() []*os.File {
	return []*os.File{e.launch, e.log, e.status, e.stdout, e.stderr, e.gate}
}

func closeAll(files []*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close()
		}
	}
}
