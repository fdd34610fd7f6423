package agentenv

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"
)

// Levels of a log line.
const (
	LevelDebug    = "DEBUG"
	LevelInfo     = "INFO"
	LevelWarning  = "WARNING"
	LevelError    = "ERROR"
	LevelCritical = "CRITICAL"
)

// LogLine is one line on FDLog. Only Msg is mandatory there; what ParseLogLine
// and OutputLine return always has TS and Level too.
type LogLine struct {
	TS         time.Time      `json:"ts"`
	Level      string         `json:"level"`
	Logger     string         `json:"logger,omitempty"`
	Msg        string         `json:"msg"`
	RunID      string         `json:"run_id,omitempty"`
	WorkflowID string         `json:"workflow_id,omitempty"`
	Activity   string         `json:"activity,omitempty"`
	Attempt    int            `json:"attempt,omitempty"`
	Fields     map[string]any `json:"fields,omitempty"`
}

// ParseLogLine reads one line of FDLog. Whatever is not such a line (a library
// may write anywhere) is kept as the message, so nothing said is lost.
func ParseLogLine(line []byte, now time.Time) LogLine {
	var l LogLine
	if err := json.Unmarshal(line, &l); err != nil || l.Msg == "" && !bytes.Contains(line, []byte(`"msg"`)) {
		return plain(line, LevelInfo, "agent", now)
	}
	if l.TS.IsZero() {
		l.TS = now
	}
	l.Level = level(l.Level)
	return l
}

// OutputLine wraps one line that a process wrote to descriptor 1 or 2 itself:
// C code, a child process, or Python before the host has taken over.
func OutputLine(fd int, line []byte, now time.Time) LogLine {
	if fd == 2 {
		return plain(line, LevelError, "stderr", now)
	}
	return plain(line, LevelInfo, "stdout", now)
}

func plain(line []byte, level, logger string, now time.Time) LogLine {
	return LogLine{TS: now, Level: level, Logger: logger, Msg: strings.TrimRight(strings.ToValidUTF8(string(line), "\uFFFD"), "\r\n")}
}

// level maps the spellings libraries use to the five of the contract.
func level(s string) string {
	switch up := strings.ToUpper(s); up {
	case LevelDebug, LevelInfo, LevelWarning, LevelError, LevelCritical:
		return up
	case "WARN":
		return LevelWarning
	case "TRACE", "NOTSET":
		return LevelDebug
	case "FATAL":
		return LevelCritical
	default:
		return LevelInfo
	}
}
