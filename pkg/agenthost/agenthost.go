// Package agenthost holds the launcher that runs a user's unmodified Python
// agent, and the one of workflows in JavaScript and TypeScript, as files to extract and
// start:
//
//	<venv>/bin/python -X utf8 <extracted>/agentcloud_host server|worker
//	node <extracted>/node_host/worker.cjs worker|replay
//
// How they are talked to is the contract of package agentenv. This package starts
// no process and builds no environment; the runtimes and the builder do.
package agenthost

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

//go:embed agentcloud_host/*.py node_host/*.cjs
var files embed.FS

// Package is the directory below the extracted one that Python is started with.
const Package = "agentcloud_host"

// Scripts below the extracted directory that Node is started with.
const (
	// NodeWorker runs workflows.
	NodeWorker = "node_host/worker.cjs"
	// NodeBundle makes one file of a project's workflows when it is built:
	//
	//	node <extracted>/node_host/bundle.cjs <app> <workflows> [<activities>]
	//
	// It leaves NodeBundled and NodeDescribed in the app's folder, and NodeActivities when
	// those are TypeScript. A line that begins with
	// NodeProblem says what a person must put right.
	NodeBundle     = "node_host/bundle.cjs"
	NodeBundled    = ".agentcloud/workflows.js"
	NodeDescribed  = ".agentcloud/workflows.json"
	NodeActivities = ".agentcloud/activities.cjs"
	NodeProblem    = "problem: "
)

// Digest names the launcher's content: two builds with the same files agree.
func Digest() string {
	sum := sha256.New()
	// An embedded tree cannot fail to be walked or read.
	_ = fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := files.ReadFile(name)
		_, _ = fmt.Fprintf(sum, "%s %d\n%s", name, len(content), content)
		return err
	})
	return hex.EncodeToString(sum.Sum(nil))[:32]
}

// Extract makes sure that the launcher's files are below dir and returns the
// directory that holds them. It may be called by several processes at once,
// and repairs what an interrupted call or somebody's edit left behind.
func Extract(dir string) (string, error) {
	target := filepath.Join(dir, Digest())
	if intact(target) {
		return target, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("extract the agent host: %w", err)
	}
	fresh, err := os.MkdirTemp(dir, ".new-*")
	if err != nil {
		return "", fmt.Errorf("extract the agent host: %w", err)
	}
	defer func() { _ = os.RemoveAll(fresh) }()
	if err := write(fresh); err != nil {
		return "", fmt.Errorf("extract the agent host: %w", err)
	}
	if err := place(fresh, target); err != nil {
		return "", fmt.Errorf("extract the agent host: %w", err)
	}
	return target, nil
}

// intact reports whether every file is there as it should be; others, such as
// Python's compiled ones, do not matter.
func intact(target string) bool {
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		want, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		if got, err := os.ReadFile(filepath.Join(target, name)); err != nil || string(got) != string(want) {
			return errors.New("differs")
		}
		return nil
	})
	return err == nil
}

func write(dir string) error {
	if err := os.CopyFS(dir, files); err != nil {
		return err
	}
	return os.Chmod(dir, 0o755)
}

// place renames fresh to target. A target that is there already is another
// process's work, or broken; either way it is replaced as a whole.
func place(fresh, target string) error {
	if err := os.Rename(fresh, target); err == nil || intact(target) {
		return nil
	}
	broken, err := os.MkdirTemp(filepath.Dir(target), ".old-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(broken) }()
	if err := os.Rename(target, filepath.Join(broken, "x")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(fresh, target); err != nil && !intact(target) {
		return err
	}
	return nil
}
