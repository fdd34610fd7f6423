package commandhost

import (
	"encoding/json"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
)

// leastSecret is how long a value must be to be looked for: shorter ones are in any text.
const leastSecret = 6

// output is what the runtime hears.
type output struct {
	mu          sync.Mutex
	log, status io.Writer
	secrets     *strings.Replacer
}

// hide keeps values out of all that is written from now on.
func (o *output) hide(secrets map[string]string) {
	type pair struct{ handle, value string }
	var all []pair
	for handle, value := range secrets {
		if len(value) >= leastSecret {
			all = append(all, pair{handle, value})
		}
	}
	slices.SortFunc(all, func(a, b pair) int { return len(b.value) - len(a.value) }) // one may hold another
	var words []string
	for _, p := range all {
		words = append(words, p.value, p.handle)
	}
	o.secrets = strings.NewReplacer(words...)
}

func (o *output) clean(text string) string {
	if o.secrets == nil {
		return text
	}
	return o.secrets.Replace(text)
}

func (o *output) tell(s agentenv.Status) {
	s.Reason, s.Detail = o.clean(s.Reason), o.clean(s.Detail)
	o.write(o.status, s)
}

// failed tells that the program does not start, and returns the exit code.
func (o *output) failed(why error, detail string) int {
	o.tell(agentenv.Status{State: agentenv.StateFailed, Reason: why.Error(), Detail: detail})
	return agentenv.ExitFailed
}

func (o *output) say(level, logger, text string) {
	o.line(agentenv.LogLine{TS: time.Now(), Level: level, Logger: logger, Msg: text})
}

// maxMessage leaves room for the rest of a line.
const maxMessage = agentenv.MaxLine / 2

func (o *output) line(l agentenv.LogLine) {
	if l.Msg = o.clean(l.Msg); len(l.Msg) > maxMessage {
		l.Msg = strings.ToValidUTF8(l.Msg[:maxMessage], "") + "… (cut)"
	}
	if fields, err := json.Marshal(l.Fields); err != nil || len(fields) > maxMessage || o.clean(string(fields)) != string(fields) {
		l.Fields = nil
	}
	o.write(o.log, l)
}

func (o *output) write(to io.Writer, value any) {
	raw, err := json.Marshal(value)
	if err != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	_, _ = to.Write(append(raw, '\n')) // a runtime that is gone ends us, too
}

var levelWord = regexp.MustCompile(`(?i)^[\[(<\s]*(debug|info|warn|warning|error|fatal|critical)\b`)

// words are what a program writes to an output of its own. Where it names no level it is
// information: servers that speak by standard output say everything on the other.
func (o *output) words(stream string, line []byte) string {
	l := agentenv.ParseLogLine(line, time.Now())
	if l.Logger == "agent" {
		l.Logger = stream
		if m := levelWord.FindStringSubmatch(l.Msg); m != nil {
			raw, _ := json.Marshal(map[string]string{"msg": "", "level": m[1]})
			l.Level = agentenv.ParseLogLine(raw, l.TS).Level
		}
	}
	o.line(l)
	return o.clean(l.Msg)
}
