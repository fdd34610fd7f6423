package sources

import (
	"path"
	"regexp"
	"strings"
)

// rules are the lines of an ignore file (gitignore(5)).
type rules []rule

type rule struct {
	pattern *regexp.Regexp
	keep    bool // the line begins with !
	folders bool // the line ends with /
}

// always is not sent: it is made anew, or is nobody's but the author's.
var always = readRules("node_modules/\n__pycache__/\nvenv/\nlogs/\n*.tmp\n*.bak\nwrangler.toml\n.*\n")

// readRules reads an ignore file; a line that is no pattern fits nothing.
func readRules(text string) rules {
	var all rules
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \t\r\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		var r rule
		line, r.keep = strings.CutPrefix(line, "!")
		line, r.folders = strings.CutSuffix(strings.TrimPrefix(line, `\`), "/")
		if compiled, err := regexp.Compile(expression(line)); err == nil {
			r.pattern = compiled
			all = append(all, r)
		}
	}
	return all
}

// expression makes a regular expression of a pattern. One with a slash that is not its
// last character starts at the top, any other fits in each folder.
func expression(pattern string) string {
	var b strings.Builder
	b.WriteString("^")
	if !strings.Contains(pattern, "/") {
		b.WriteString("(?:.*/)?")
	}
	pattern = strings.TrimPrefix(pattern, "/")
	for i := 0; i < len(pattern); i++ {
		rest := pattern[i:]
		switch {
		case strings.HasPrefix(rest, "**/"):
			b.WriteString("(?:.*/)?")
			i += 2
		case strings.HasPrefix(rest, "**"):
			b.WriteString(".*")
			i++
		case rest[0] == '*':
			b.WriteString("[^/]*")
		case rest[0] == '?':
			b.WriteString("[^/]")
		case rest[0] == '[' && strings.IndexByte(rest, ']') > 1:
			end := strings.IndexByte(rest, ']')
			b.WriteString("[" + strings.Replace(rest[1:end], "!", "^", 1) + "]")
			i += end
		default:
			b.WriteString(regexp.QuoteMeta(rest[:1]))
		}
	}
	return b.String() + "$"
}

// skips says whether a file or folder is left out; the last rule that fits holds.
func (r rules) skips(name string, folder bool) bool {
	skip := false
	for _, one := range r {
		if (folder || !one.folders) && one.pattern.MatchString(path.Clean(name)) {
			skip = !one.keep
		}
	}
	return skip
}
