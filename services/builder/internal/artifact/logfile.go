package artifact

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"time"
)

// record writes a build's lines to its file until the build is over, and returns a
// function that waits for that.
func (s *Service) record(j *job, bundleID string) (finish func()) {
	done := make(chan struct{})
	stop := make(chan struct{})
	go func() {
		defer close(done)
		if err := writeLog(j, s.deps.Disk.Log(bundleID), stop); err != nil {
			s.deps.Log.Warn("the log of a build is not kept", "bundle", bundleID, "error", err)
		}
	}()
	return func() { close(stop); <-done }
}

func writeLog(j *job, name string, stop <-chan struct{}) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) //nolint:gosec // our own folder
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		<-stop
		cancel()
	}()
	out := bufio.NewWriter(file)
	for next := 0; ; {
		lines, after, _, err := j.wait(ctx, next)
		for _, l := range lines {
			fmt.Fprintf(out, "%s %s %s\n", l.time.UTC().Format(time.RFC3339Nano), l.level, l.text) //nolint:errcheck // Flush says it
		}
		if flushed := out.Flush(); flushed != nil {
			_ = file.Close() // the first error counts
			return flushed
		}
		if next = after; err != nil {
			return file.Close()
		}
	}
}
