package engine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"
)

// compileLimit is how long the byte-code of a project may take; what is not there by
// then, each start compiles for itself.
const compileLimit = 20 * time.Second

// Compile puts the byte-code of the Python files below dir beside them, for the Python of
// an environment. Nobody edits them there. What cannot be compiled is left: whoever
// starts it is told why.
func (e *Engine) Compile(ctx context.Context, environment, dir string) error {
	work, err := e.deps.Disk.Stage("compile")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work) //nolint:errcheck // what is left is swept at the next start
	limited, cancel := context.WithTimeout(ctx, compileLimit)
	defer cancel()
	python := filepath.Join(e.deps.Disk.Environment(environment), "bin", "python")
	_, err = e.run(limited, command{path: python, work: work, quiet: true, args: []string{
		"-I", "-S", "-m", "compileall", "-qq", "--invalidation-mode", "unchecked-hash", dir,
	}}, nil)
	if errors.Is(err, errFailed) || limited.Err() != nil && ctx.Err() == nil {
		return nil
	}
	return err
}
