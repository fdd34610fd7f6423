package commandhost

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runtime/lines"
)

const (
	// stdinWait is how long a program may take to end once nobody speaks to it any more,
	// termWait once it was told to (MCP, "Lifecycle", shutdown).
	stdinWait = 2 * time.Second
	termWait  = 3 * time.Second
	// lastWords is how long the pipes of a program that has ended are read: a child of
	// its own may hold the other end.
	lastWords = time.Second
	// maxWords bounds one line of a log.
	maxWords = 32 << 10
)

// child is one process of the program.
type child struct {
	cmd *exec.Cmd
	// stdin and stdout are nil for a program that speaks HTTP.
	stdin, stdout *os.File
	logs          []*os.File
	last          lines.Tail
	gone          func()
	done          chan struct{} // closed when it has ended
	err           error         // how; read after done
}

// starter is how the program is started.
type starter struct {
	args []string
	dir  string
	env  []string
	out  *output
	// containers are where it runs; nil for a program of this machine.
	containers *containers
}

// command is a process of the program that is to be started, and what is done after it.
func (s starter) command() (cmd *exec.Cmd, gone func(), err error) {
	if s.containers != nil {
		return s.containers.command(s.args, s.env)
	}
	cmd = exec.Command(s.args[0], s.args[1:]...) //nolint:gosec // this is what it is for
	cmd.Dir, cmd.Env = s.dir, s.env
	return cmd, func() {}, nil
}

// start starts the program; piped says that it speaks by its standard input and output.
func (s starter) start(piped bool) (*child, error) {
	c := &child{done: make(chan struct{})}
	var err error
	if c.cmd, c.gone, err = s.command(); err != nil {
		return nil, err
	}
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	theirs, err := c.connect(piped)
	defer closeAll(theirs)
	if err == nil {
		err = c.cmd.Start()
	}
	if err != nil {
		closeAll(append(c.logs, c.stdin, c.stdout))
		c.gone()
		return nil, explain(s.args[0], err)
	}
	for _, from := range c.logs {
		go c.listen(from, s.out)
	}
	go c.wait()
	return c, nil
}

// explain says what to do about a program that cannot be started.
func explain(program string, err error) error {
	switch {
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("the program %s is not there; name one of the project's files, or a program that this machine has", program)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%s is no program that can be run; name its interpreter before it", program)
	case errors.Is(err, syscall.ENOEXEC):
		return fmt.Errorf("%s is no program of this machine; begin a script with #! and its interpreter, or build it for this machine", program)
	}
	return fmt.Errorf("%s cannot be started: %w", program, err)
}

// connect makes the pipes and returns the program's ends.
func (c *child) connect(piped bool) (theirs []*os.File, err error) {
	var errs []error
	pipe := func() (read, write *os.File) {
		read, write, err := os.Pipe()
		errs = append(errs, err)
		return read, write
	}
	log := func() *os.File {
		read, write := pipe()
		c.logs, theirs = append(c.logs, read), append(theirs, write)
		return write
	}
	c.cmd.Stderr = log()
	if !piped {
		c.cmd.Stdout = log()
		return theirs, errors.Join(errs...)
	}
	stdin, ours := pipe()
	read, stdout := pipe()
	c.stdin, c.stdout, c.cmd.Stdin, c.cmd.Stdout = ours, read, stdin, stdout
	return append(theirs, stdin, stdout), errors.Join(errs...)
}

func closeAll(files []*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close()
		}
	}
}

// listen writes down what the program says.
func (c *child) listen(from *os.File, out *output) {
	defer from.Close() //nolint:errcheck // read only
	stream := "stderr"
	if from != c.logs[0] {
		stream = "stdout"
	}
	reader := bufio.NewReaderSize(from, maxWords)
	for {
		line, cut, err := reader.ReadLine()
		if len(strings.TrimSpace(string(line))) > 0 {
			c.last.Add(out.words(stream, line))
		}
		for cut && err == nil {
			_, cut, err = reader.ReadLine()
		}
		if err != nil {
			return
		}
	}
}

// wait reaps the program, and ends what it has started and left.
func (c *child) wait() {
	c.err = c.cmd.Wait()
	_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
	c.gone()
	deadline := time.Now().Add(lastWords)
	for _, f := range append(c.logs, c.stdout) {
		if f != nil {
			_ = f.SetReadDeadline(deadline)
		}
	}
	if c.stdin != nil {
		_ = c.stdin.Close()
	}
	close(c.done)
}

// end ends the program: politely, then by force.
func (c *child) end() {
	if c.stdin != nil {
		_ = c.stdin.Close()
		if c.over(stdinWait) {
			return
		}
	}
	_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGTERM)
	if c.over(termWait) {
		return
	}
	_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
	<-c.done
}

// over says whether the program has ended, or does in time.
func (c *child) over(within time.Duration) bool {
	select {
	case <-c.done:
		return true
	case <-time.After(within):
		return false
	}
}

// killedInside is how runc, and shells, tell that a program was killed.
const killedInside = 128 + int(syscall.SIGKILL)

// how says in words how the program ended.
func (c *child) how() string {
	var exit *exec.ExitError
	if !errors.As(c.err, &exit) {
		if c.err != nil {
			return c.err.Error()
		}
		return "the program ended by itself, with exit code 0"
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	switch {
	case ok && status.Signaled() && status.Signal() == syscall.SIGKILL, exit.ExitCode() == killedInside:
		return "the program was killed; it may have used more memory than agents may (agents.memory_mb)"
	case ok && status.Signaled():
		return fmt.Sprintf("the program was ended by signal %d (%s)", int(status.Signal()), status.Signal())
	}
	return fmt.Sprintf("the program ended with exit code %d", exit.ExitCode())
}

// code is the exit code with which we end when the program has.
func (c *child) code() int {
	if code := c.cmd.ProcessState.ExitCode(); code > 0 {
		return code
	}
	return 1
}
