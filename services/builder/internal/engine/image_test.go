package engine_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/mcpagentcloud/agentcloud/pkg/testkit/dbtest"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/disk"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/engine"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/recipe"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/store"
)

// layer is one layer of files; a text that begins with "-> " is a link.
func layer(t *testing.T, files map[string]string) v1.Layer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, text := range files {
		h := &tar.Header{Name: name, Mode: 0o4755, Size: int64(len(text)), Typeflag: tar.TypeReg}
		if to, link := strings.CutPrefix(text, "-> "); link {
			h.Typeflag, h.Linkname, h.Size, text = tar.TypeSymlink, to, 0, ""
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// imageOf writes an OCI layout of two layers.
func imageOf(t *testing.T, config v1.Config, below, above map[string]string) string {
	t.Helper()
	image, err := mutate.AppendLayers(empty.Image, layer(t, below), layer(t, above))
	if err == nil {
		image, err = mutate.Config(image, config)
	}
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path, err := layout.Write(dir, empty.Index)
	if err == nil {
		err = path.AppendImage(image)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func newImageWorld(t *testing.T, change ...func(*engine.Config)) *world {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("images are laid out by root")
	}
	d, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	cfg := engine.Defaults()
	cfg.Runc = "/bin/true"
	for _, c := range change {
		c(&cfg)
	}
	memory := store.New(dbtest.SQLite(t, store.Migrations()))
	return &world{disk: d, store: memory, engine: engine.New(cfg, engine.Deps{Store: memory, Disk: d, Now: time.Now, Environ: os.Environ()})}
}

func TestAnImageIsLaidOut(t *testing.T) {
	t.Parallel()
	w := newImageWorld(t)
	config := v1.Config{Entrypoint: []string{"/app/run"}, Cmd: []string{"a"}, Env: []string{"A=b=c"}, WorkingDir: "/app", User: "node:staff"}
	dir := imageOf(t, config,
		map[string]string{"app/run": "old", "app/gone": "x", "etc/passwd": "root:x:0:0::/:\nnode:x:1000:1001::/:\n", "etc/group": "staff:x:50:\n"},
		map[string]string{"app/run": "new", "app/.wh.gone": "", "app/link": "-> /etc/passwd"},
	)
	sink := func(string) {}
	digest, err := w.engine.Image(t.Context(), engine.Image{Layout: dir}, sink)
	if err != nil {
		var problem *recipe.Problem
		errors.As(err, &problem)
		t.Fatalf("Image() = %v (%+v)", err, problem)
	}
	says, err := w.engine.ImageSays(digest)
	if err != nil {
		t.Fatal(err)
	}
	root := says.Rootfs
	want := engine.ImageSays{
		Args: []string{"/app/run", "a"}, Folder: "/app", UID: 1000, GID: 50, Rootfs: root, Runc: "/bin/true",
		Env: map[string]string{"A": "b=c", "PATH": says.Env["PATH"]},
	}
	if diff := cmp.Diff(want, says); diff != "" || says.Env["PATH"] == "" {
		t.Errorf("what the image says (-want +got):\n%s", diff)
	}
	run := filepath.Join(root, "app", "run")
	text, err := os.ReadFile(run)
	info, _ := os.Stat(run)
	if string(text) != "new" || err != nil || info.Mode() != 0o755 {
		t.Errorf("app/run holds %q with %v, %v", text, info.Mode(), err)
	}
	if _, err := os.Stat(filepath.Join(root, "app", "gone")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that a layer takes away is there: %v", err)
	}
	for _, name := range []string{"proc", "tmp", "etc/resolv.conf"} {
		if _, err := os.Stat(filepath.Join(root, name)); err != nil {
			t.Error(err)
		}
	}
	if again, err := w.engine.Image(t.Context(), engine.Image{Layout: dir}, sink); again != digest || err != nil || w.left(t, "staging") != 0 {
		t.Errorf("Image() again = %s, %v; %d in staging", again, err, w.left(t, "staging"))
	}
}

func TestImagesThatAreRefused(t *testing.T) {
	t.Parallel()
	plain := map[string]string{"a": "x"}
	good := imageOf(t, v1.Config{}, plain, nil)
	outside := filepath.Join(t.TempDir(), "outside")
	tests := map[string]struct {
		image  engine.Image
		change func(*engine.Config)
		says   string
	}{
		"no runc":            {engine.Image{Layout: good}, func(c *engine.Config) { c.Runc = "/no/such/runc" }, "no runc to run it"},
		"no image":           {engine.Image{Layout: t.TempDir()}, nil, "cannot be read"},
		"no name":            {engine.Image{Ref: "Not A Name"}, nil, "names no image"},
		"no such registry":   {engine.Image{Ref: "127.0.0.1:1/a/b:1"}, nil, "cannot be had"},
		"no address":         {engine.Image{Ref: "169.254.169.254/a/b:1"}, nil, "cannot be had"},
		"no such user":       {engine.Image{Layout: imageOf(t, v1.Config{User: "node"}, plain, nil)}, nil, "not in its /etc/passwd"},
		"too large":          {engine.Image{Layout: imageOf(t, v1.Config{}, map[string]string{"a": strings.Repeat("x", 4<<10)}, nil)}, func(c *engine.Config) { c.EnvironmentBytes = 1 << 10 }, "larger than"},
		"a way out":          {engine.Image{Layout: imageOf(t, v1.Config{}, map[string]string{"../../outside": "x"}, nil)}, nil, ""},
		"a way out by links": {engine.Image{Layout: imageOf(t, v1.Config{}, map[string]string{"d/x": "x"}, map[string]string{"d": "-> " + outside})}, nil, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newImageWorld(t, func(c *engine.Config) {
				if tt.change != nil {
					tt.change(c)
				}
			})
			_, err := w.engine.Image(t.Context(), tt.image, func(string) {})
			var problem *recipe.Problem
			if tt.says != "" && (!errors.As(err, &problem) || !strings.Contains(problem.Reason, tt.says)) {
				t.Errorf("Image() = %v, want %q", err, tt.says)
			}
			if _, err := os.Lstat(outside); err == nil || w.left(t, "staging") != 0 {
				t.Errorf("something was written outside, or is left in staging")
			}
		})
	}
}
