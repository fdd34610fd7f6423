package wrangler

import (
	"errors"
	"io"
	"path"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/grpc"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
)

var fuzzLimits = Limits{Bytes: 4000, Files: 5, NameBytes: 60, Depth: 4}

// plain says whether a path is safe to make inside a folder.
func plain(name string) bool {
	return name != "" && utf8.ValidString(name) && !path.IsAbs(name) && path.Clean(name) == name && name != "." && name != ".." &&
		!strings.HasPrefix(name, "../") && !strings.ContainsAny(name, "\x00\\\r\n") &&
		len(name) <= fuzzLimits.NameBytes && strings.Count(name, "/") < fuzzLimits.Depth
}

func FuzzRestore(f *testing.F) {
	for _, name := range []string{
		"main.py", "a/b.txt.mcpac.py", "x.mcpac.py.mcpac.py", ".mcpac.py", "../x", "/x", "a//b", "a/../b", "%22", "%2e%2e/x", "a%0Ab", "a\\b", "\x00", "É.py",
	} {
		f.Add(name, name)
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		n := newNames(fuzzLimits)
		got, err := n.restore(first)
		if err != nil {
			if !refusal(err) {
				t.Errorf("restore(%q) = %v, want a refusal", first, err)
			}
			return
		}
		if want := strings.TrimSuffix(unescape.Replace(first), suffix); got != want || !plain(got) {
			t.Errorf("restore(%q) = %q, want %q and a plain path", first, got, want)
		}
		if other, err := n.restore(second); err == nil && strings.EqualFold(other, got) {
			t.Errorf("restore(%q) and restore(%q) both succeed as %q and %q", first, second, got, other)
		}
	})
}

func FuzzDisposition(f *testing.F) {
	for _, text := range []string{
		`form-data; name="metadata"`, `form-data; name="a"; filename="a.py"`, `form-data; name="a\(b"; filename="a\(b"`,
		`form-data; filename="a"; filename="b"`, `form-data; name="; filename="`, `attachment`, `form-data; name=a`, `form-data; name="é%22"`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		h, err := parseDisposition(text)
		if err != nil {
			if !fault.Invalid.Is(err) {
				t.Errorf("parseDisposition(%q) = %v, want a refusal", text, err)
			}
			return
		}
		if h.isFile && !strings.Contains(text, `filename="`+h.filename+`"`) {
			t.Errorf("parseDisposition(%q) = %+v, want the name as it was sent", text, h)
		}
	})
}

// recorder is a builder's stream that checks what the contract says of it.
type recorder struct {
	grpc.ClientStream
	t         *testing.T
	files     int
	bytes     int
	seen      map[string]bool
	committed bool
}

func (r *recorder) Send(req *builderv1.UploadBundleRequest) error {
	switch step := req.GetStep().(type) {
	case *builderv1.UploadBundleRequest_File_:
		name := step.File.GetPath()
		if !plain(name) || r.seen[name] {
			r.t.Errorf("sent the path %q (again: %v)", name, r.seen[name])
		}
		r.seen[name] = true
		r.files++
	case *builderv1.UploadBundleRequest_Chunk:
		if r.bytes += len(step.Chunk); r.files == 0 || len(step.Chunk) == 0 {
			r.t.Errorf("sent %d bytes after %d files", len(step.Chunk), r.files)
		}
	case *builderv1.UploadBundleRequest_Commit_:
		if r.committed = true; int(step.Commit.GetFiles()) != r.files {
			r.t.Errorf("committed %d files of %d", step.Commit.GetFiles(), r.files)
		}
	}
	return nil
}

func (r *recorder) CloseAndRecv() (*builderv1.UploadBundleResponse, error) { return nil, io.EOF }

func FuzzMultipart(f *testing.F) {
	file := "--b\r\nContent-Disposition: form-data; name=\"a.py\"; filename=\"a.py\"\r\n\r\nx\r\n"
	for _, text := range []string{
		file + "--b--\r\n", file + file + "--b--", file, "--b--\r\n", "", "--b\r\n\r\n\r\n--b--", strings.ReplaceAll(file, "a.py", "../a") + "--b--\r\n",
		"--b\r\nContent-Disposition: form-data; name=\"metadata\"\r\n\r\n{}\r\n" + file + "--b--\r\n",
	} {
		f.Add([]byte(text), len(text)/2)
	}
	f.Fuzz(func(t *testing.T, text []byte, cut int) {
		copied := func(from io.Reader) (*recorder, error) {
			r := &recorder{t: t, seen: map[string]bool{}}
			u := &upload{stream: r, limits: fuzzLimits, names: newNames(fuzzLimits)}
			return r, u.copyParts(readForm(from, "b"))
		}
		r, err := copied(strings.NewReader(string(text)))
		if r.committed && !strings.Contains(string(text), "--b--") {
			t.Errorf("committed %q, which has no end", text)
		}
		if r.committed != (err == nil) || r.bytes > int(fuzzLimits.Bytes) || err != nil && !refusal(err) {
			t.Errorf("copyParts() = %v with %d bytes, committed %v", err, r.bytes, r.committed)
		}
		if cut < 0 || cut >= len(text) {
			return
		}
		broken := io.MultiReader(strings.NewReader(string(text[:cut])), failing{})
		if r, err := copied(broken); err == nil && !r.committed || r.committed && err != nil {
			t.Errorf("copyParts(broken off) = %v, committed %v", err, r.committed)
		}
	})
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("the connection is gone") }
