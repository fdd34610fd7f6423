package disk_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/mcpagentcloud/agentcloud/services/builder/internal/disk"
)

func open(t *testing.T, dir string) *disk.Disk {
	t.Helper()
	d, err := disk.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func stage(t *testing.T, d *disk.Disk, text string) string {
	t.Helper()
	staged, err := d.Stage("test")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(staged, "file"), text)
	return staged
}

func TestOneProcessAtATime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := open(t, dir)
	if second, err := disk.Open(dir); err == nil {
		t.Error("two builders use one folder")
		_ = second.Close()
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	_ = open(t, dir).Close()
}

func TestWhatWasHalfDoneIsSweptAtTheNextStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := open(t, dir)
	half := stage(t, d, "half")
	whole := stage(t, d, "whole")
	name := d.Environment("digest")
	if err := disk.Publish(whole, name); err != nil {
		t.Fatal(err)
	}
	protected := filepath.Join(half, "protected")
	write(t, filepath.Join(protected, "file"), "")
	if err := os.Chmod(protected, 0o500); err != nil { //nolint:gosec // a test of it
		t.Fatal(err)
	}
	_ = d.Close() // as if killed
	d = open(t, dir)
	defer d.Close() //nolint:errcheck // the end
	if disk.Exists(half) {
		t.Error("what was half-done is there still")
	}
	if text, err := os.ReadFile(filepath.Join(name, "file")); err != nil || string(text) != "whole" {
		t.Errorf("what was whole is %q, %v", text, err)
	}
}

func TestANameThatIsTakenStays(t *testing.T) {
	t.Parallel()
	d := open(t, t.TempDir())
	defer d.Close() //nolint:errcheck // the end
	name := d.Tool("digest")
	for _, text := range []string{"first", "second"} {
		if err := disk.Publish(stage(t, d, text), name); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := os.ReadFile(filepath.Join(name, "file")); err != nil || string(text) != "first" {
		t.Errorf("it is %q, %v", text, err)
	}
}

func TestBuryAndEmpty(t *testing.T) {
	t.Parallel()
	d := open(t, t.TempDir())
	defer d.Close() //nolint:errcheck // the end
	name, cached := d.Environment("digest"), filepath.Join(d.Cache("uv"), "wheel")
	write(t, filepath.Join(name, "own"), "12345")
	write(t, cached, "1234567890")
	if err := os.Link(cached, filepath.Join(name, "linked")); err != nil {
		t.Fatal(err)
	}
	grave, err := d.Bury(name)
	if err != nil || disk.Exists(name) {
		t.Fatalf("Bury() = %v; there still: %v", err, disk.Exists(name))
	}
	// What the cache has as well is not freed.
	if freed, err := disk.Empty(grave); err != nil || freed != 5 {
		t.Errorf("Empty() = %d, %v; want 5", freed, err)
	}
	if grave, err := d.Bury(name); err != nil || grave != "" {
		t.Errorf("Bury() of nothing = %q, %v", grave, err)
	}
	if freed, err := disk.Empty(""); err != nil || freed != 0 {
		t.Errorf("Empty() of nothing = %d, %v", freed, err)
	}
}
