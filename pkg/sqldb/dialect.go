package sqldb

import (
	"strconv"
	"strings"

	"github.com/pressly/goose/v3"
)

// dialect is what differs between the two databases.
type dialect struct {
	name      string // also the folder of migrations
	goose     goose.Dialect
	numbered  bool // placeholders are $1, $2 …
	fileSync  bool // a connection says whether its commits wait for the disk
	isCollide func(error) bool
}

func (d dialect) collides(err error) bool { return d.isCollide(err) }

// rebind turns each '?' outside of quotes into the dialect's placeholder.
func (d dialect) rebind(query string) string {
	if !d.numbered || !strings.Contains(query, "?") {
		return query
	}
	var b strings.Builder
	b.Grow(len(query) + 16)
	n, quote := 0, rune(0)
	for _, r := range query {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"'):
			quote = r
		case quote == 0 && r == '?':
			n++
			b.WriteString("$" + strconv.Itoa(n))
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}
