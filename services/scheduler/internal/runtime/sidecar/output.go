package sidecar

import (
	"cmp"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
)

const (
	// shortest is what a value must have to be hidden; shorter ones are words.
	shortest = 8
	hidden   = "[secret]"
	// tailBytes is how much of the last line is told as a reason.
	tailBytes = 400
)

// redactor keeps values out of lines.
type redactor struct{ replacer *strings.Replacer }

func newRedactor(values []string) redactor {
	slices.SortFunc(values, func(x, y string) int { return cmp.Or(len(y)-len(x), strings.Compare(x, y)) })
	var pairs []string
	for _, value := range slices.Compact(values) {
		if len(value) < shortest {
			continue
		}
		escaped, _ := json.Marshal(value) //nolint:errchkjson // a string
		pairs = append(pairs, value, hidden, strings.Trim(string(escaped), `"`), hidden)
	}
	return redactor{strings.NewReplacer(pairs...)}
}

func (r redactor) text(s string) string { return r.replacer.Replace(s) }

// how loud a line is, by a word near its beginning; servers write all to standard error.
var (
	loud  = regexp.MustCompile(`(?i)^.{0,60}\b(error|critical|fatal|panic|traceback)\b`)
	wary  = regexp.MustCompile(`(?i)^.{0,60}\bwarn(ing)?\b`)
	chat  = regexp.MustCompile(`^.{0,60}\bDEBUG\b`)
	marks = []struct {
		pattern *regexp.Regexp
		level   string
	}{{loud, agentenv.LevelError}, {wary, agentenv.LevelWarning}, {chat, agentenv.LevelDebug}}
)

// says takes a line of a server and returns its text.
func (u *unit) says(stream string, raw []byte) string {
	text := u.server.redact.text(string(raw))
	line := agentenv.ParseLogLine([]byte(text), time.Now())
	if line.Logger == "agent" { // plain text
		for _, mark := range marks {
			if mark.pattern.MatchString(line.Msg) {
				line.Level = mark.level
				break
			}
		}
	}
	if strings.TrimSpace(line.Msg) == "" {
		return ""
	}
	if line.Fields == nil {
		line.Fields = map[string]any{}
	}
	text = line.Msg
	line.Logger, line.Fields["mcp_server"], line.Fields["stream"] = u.server.name, u.server.name, stream
	line.Msg = "[" + u.server.name + "] " + text // the public command line shows nothing but the message
	u.set().options.Line(line)
	return text
}

// tail is the last line of a process, for whoever asks why it ended.
type tail struct {
	mu   sync.Mutex
	line string
}

func (t *tail) add(line string) {
	if line = strings.TrimSpace(line); line == "" {
		return
	}
	if len(line) > tailBytes {
		line = strings.ToValidUTF8(line[:tailBytes], "") + "…"
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.line = line
}

func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.line
}
