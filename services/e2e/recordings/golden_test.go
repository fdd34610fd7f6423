package recordings

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "write the answers in testdata anew")

// TestRecordings makes the requests in testdata and compares the answers with those
// recorded there. A file is a conversation in turns:
//
//	-- name --
//	! an instruction: something that happens (see world.do), any number of them
//	USER METHOD PATH
//	body
//	-- name: answer --
//	status and headers that matter
//	body
//
// Ids, keys and times differ from run to run, so they are written as <app-1>: the
// first app's id. A request may use what an answer before it has shown.
func TestRecordings(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("Glob() = %v, %v, want recordings", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			recorded, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			replayed := replay(t, newWorld(t), recorded)
			if *update {
				if err := os.WriteFile(file, txtar.Format(replayed), 0o644); err != nil { //nolint:gosec // a source file
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(txtar.Format(recorded)), string(txtar.Format(replayed))); diff != "" {
				t.Errorf("%s (-recorded +answered; `go test -update` writes it anew):\n%s", file, diff)
			}
		})
	}
}

const answered = ": answer"

func replay(t *testing.T, w *world, recorded *txtar.Archive) *txtar.Archive {
	t.Helper()
	replayed, marks := &txtar.Archive{Comment: recorded.Comment}, newMarks()
	for _, turn := range recorded.Files {
		if strings.HasSuffix(turn.Name, answered) {
			continue
		}
		answer := w.turn(t, marks, string(turn.Data))
		replayed.Files = append(replayed.Files, turn, txtar.File{Name: turn.Name + answered, Data: []byte(answer)})
	}
	return replayed
}

// turn makes what happens and one request, and returns the answer with marks.
func (w *world) turn(t *testing.T, marks *marks, text string) string {
	t.Helper()
	for strings.HasPrefix(text, "! ") {
		var instruction string
		instruction, text, _ = strings.Cut(text, "\n")
		w.do(t, marks.undo(strings.TrimPrefix(instruction, "! ")))
	}
	head, body, _ := strings.Cut(text, "\n")
	words := strings.Fields(marks.undo(head))
	if len(words) != 3 {
		t.Fatalf("%q is not USER METHOD PATH", head)
	}
	key, known := w.keys[words[0]]
	if !known {
		t.Fatalf("there is no user %s", words[0])
	}
	r := httptest.NewRequestWithContext(t.Context(), words[1], words[2], strings.NewReader(marks.undo(body)))
	r.Header.Set("Content-Type", "application/json")
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	answer := httptest.NewRecorder()
	w.api.ServeHTTP(answer, r)
	return marks.do(written(t, answer.Result()))
}

func written(t *testing.T, res *http.Response) string {
	t.Helper()
	defer res.Body.Close() //nolint:errcheck // a buffer
	var b bytes.Buffer
	fmt.Fprintln(&b, res.StatusCode)
	for _, name := range []string{"WWW-Authenticate", "Retry-After"} {
		if value := res.Header.Get(name); value != "" {
			fmt.Fprintf(&b, "%s: %s\n", name, value)
		}
	}
	if kind := res.Header.Get("Content-Type"); kind != "application/json" {
		t.Errorf("an answer is of type %q", kind)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Indent(&b, bytes.TrimSpace(body), "", "  "); err != nil {
		t.Errorf("an answer is no JSON: %v: %s", err, body)
	}
	b.WriteByte('\n')
	return b.String()
}

var (
	idPattern   = regexp.MustCompile(`\b(app|apcnf|mcpac_sc|u|org|key|ver|bdl)_[0-9a-f]{8}-[0-9a-f-]{27}\b`)
	keyPattern  = regexp.MustCompile(`lm_mcp_api_[A-Z2-7]{20,}`)
	hintPattern = regexp.MustCompile(`"hint": "[A-Z2-7]{4}"`)
	timePattern = regexp.MustCompile(`"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"`)
	refPattern  = regexp.MustCompile(`\(ref [A-Z2-7]{10}\)`)
)

// hostSuffix is how much of an id is in the host name of what has it.
const hostSuffix = 8

// marks stand for what differs between runs.
type marks struct {
	byValue, byMark map[string]string
	count           map[string]int
}

func newMarks() *marks {
	return &marks{byValue: map[string]string{}, byMark: map[string]string{}, count: map[string]int{}}
}

func (m *marks) of(kind, value string) string {
	if mark, ok := m.byValue[value]; ok {
		return mark
	}
	m.count[kind]++
	mark := fmt.Sprintf("<%s-%d>", kind, m.count[kind])
	m.byValue[value], m.byMark[mark] = mark, value
	return mark
}

func (m *marks) do(text string) string {
	text = idPattern.ReplaceAllStringFunc(text, func(value string) string {
		kind, uuid, _ := strings.Cut(strings.ReplaceAll(value, "mcpac_sc", "secret"), "_")
		mark := m.of(kind, value)
		end := uuid[len(uuid)-hostSuffix:]
		m.byValue[end], m.byMark["end-of-"+mark] = "end-of-"+mark, end
		return mark
	})
	for end, mark := range m.byValue {
		if len(end) == hostSuffix {
			text = strings.ReplaceAll(text, "-"+end+".apps.test", "-"+mark+".apps.test")
		}
	}
	text = keyPattern.ReplaceAllStringFunc(text, func(value string) string { return m.of("api-key", value) })
	text = hintPattern.ReplaceAllString(text, `"hint": "<hint>"`)
	text = refPattern.ReplaceAllString(text, `(ref <ref>)`)
	return timePattern.ReplaceAllString(text, `"<time>"`)
}

var markPattern = regexp.MustCompile(`(end-of-)?<[a-z-]+-\d+>`)

func (m *marks) undo(text string) string {
	return markPattern.ReplaceAllStringFunc(text, func(mark string) string {
		if value, ok := m.byMark[mark]; ok {
			return value
		}
		return mark
	})
}
