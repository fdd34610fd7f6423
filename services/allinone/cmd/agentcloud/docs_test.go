package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/mcpagentcloud/agentcloud/services/cli"
)

const root = "../../../.."

var (
	link     = regexp.MustCompile(`\]\(([^)#:]*)(?:#([^)]*))?\)`)
	fence    = regexp.MustCompile("(?s)```[a-z]*\n(.*?)```")
	span     = regexp.MustCompile("`([^`\n]+)`")
	ours     = regexp.MustCompile(`(?m)(?:^|[(/])agentcloud ([a-z]+(?:[ )][^#\n")|]*|$))`)
	makes    = regexp.MustCompile(`(?m)(?:^|\s)make ([a-z][a-z-]*)`)
	flagOnly = regexp.MustCompile(`^--([a-z][a-z-]*)(?:[ =]|$)`)
	pathLike = regexp.MustCompile(`^(?:services|pkg|deploy|proto|examples|docs)/[\w./-]+$`)
	setting  = regexp.MustCompile(`^(gateway|registry|scheduler|builder|secretsbroker|telemetry|service)\.([a-z_.]+)$`)
	headline = regexp.MustCompile(`(?m)^#+ (.+)$`)
	section  = regexp.MustCompile(`(?s)<!-- settings of (\w+) -->\n(.*?)<!-- end -->`)
	row      = regexp.MustCompile("(?m)^\\| `([a-z_.]+)` \\|")
	subject  = regexp.MustCompile(`subject\) = "([a-z_.]+)"`)
)

// TestDocs keeps what the pages name true: links, files, commands, flags, verbs and
// settings.
func TestDocs(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(pages) < 10 {
		t.Fatalf("the pages are not there: %v, %v", pages, err)
	}
	readme := filepath.Join(root, "README.md")
	linked := read(t, readme)
	for _, page := range pages {
		if !strings.Contains(linked, "](docs/"+filepath.Base(page)+")") {
			t.Errorf("README.md does not lead to %s", page)
		}
	}
	known := names{makefile: read(t, filepath.Join(root, "Makefile")), dotted: append(settings(t), subjects(t)...)}
	for _, page := range append(pages, readme, filepath.Join(root, "examples", "README.md")) {
		t.Run(filepath.Base(page), func(t *testing.T) {
			t.Parallel()
			text := read(t, page)
			for _, found := range link.FindAllStringSubmatch(text, -1) {
				checkLink(t, page, found[1], found[2])
			}
			for _, code := range codeOf(text) {
				known.check(t, code)
			}
		})
	}
}

// names are what pages may name beside our commands.
type names struct {
	makefile string
	dotted   []string // settings and events
}

func (n names) check(t *testing.T, code string) {
	t.Helper()
	if pathLike.MatchString(code) {
		exists(t, filepath.Join(root, code))
	}
	if setting.MatchString(code) && !slices.Contains(n.dotted, code) {
		t.Errorf("there is no setting or event `%s`", code)
	}
	for _, found := range ours.FindAllStringSubmatch(code, -1) {
		if err := checkCommand(found[1]); err != "" {
			t.Error(err)
		}
	}
	for _, found := range makes.FindAllStringSubmatch(code, -1) {
		if !strings.Contains(n.makefile, "\n"+found[1]+":") {
			t.Errorf("there is no `make %s`", found[1])
		}
	}
	if found := flagOnly.FindStringSubmatch(code); found != nil && !anyHas(cli.New(io.Discard, newUp()), found[1]) && !theirs[found[1]] {
		t.Errorf("no command of ours has the flag --%s, and it is not listed as one of the public command line", found[1])
	}
}

// theirs are flags of other programs that pages name by themselves: of the public
// command line, and of the rooms.
var theirs = map[string]bool{
	"working-dir": true, "no-auth": true, "auth": true, "retry-count": true, "params": true, "id": true, "limit": true, "grep": true,
	"config": true,
}

// TestCheckCommand sees that the check of commands can fail.
func TestCheckCommand(t *testing.T) {
	t.Parallel()
	for line, right := range map[string]bool{
		"up": true, "up --data DIR --processes": true, "up [--http HOST:PORT]": true, "keys revoke KEY_ID": true, "env --data DIR)": true,
		"users create ada@example.com --new-org acme": true, "call hello add '{}'": true, "keys": true,
		"down": false, "up --port 1": false, "keys drop KEY_ID": false, "users create ada@example.com --org acme": false, "keys create --api-url": true,
	} {
		if err := checkCommand(line); (err == "") != right {
			t.Errorf("checkCommand(%q) = %q, want right: %v", line, err, right)
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func exists(t *testing.T, file string) {
	t.Helper()
	if _, err := os.Stat(file); err != nil {
		t.Errorf("named, but not there: %v", err)
	}
}

// checkLink fails unless the file is there, with a headline of that name where one is named.
func checkLink(t *testing.T, page, file, anchor string) {
	t.Helper()
	target := page
	if file != "" {
		target = filepath.Join(filepath.Dir(page), file)
		exists(t, target)
	}
	if anchor == "" {
		return
	}
	for _, found := range headline.FindAllStringSubmatch(read(t, target), -1) {
		if strings.ReplaceAll(strings.ToLower(found[1]), " ", "-") == anchor {
			return
		}
	}
	t.Errorf("%s has no headline for #%s", target, anchor)
}

// settings are those of the configuration page, which a test of its own holds to the code.
func settings(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, part := range section.FindAllStringSubmatch(read(t, filepath.Join(root, "docs", "configuration.md")), -1) {
		for _, found := range row.FindAllStringSubmatch(part[2], -1) {
			all = append(all, part[1]+"."+found[1])
		}
	}
	if len(all) < 20 {
		t.Fatalf("only %d settings are found in configuration.md", len(all))
	}
	return all
}

// subjects are those of the events that the contracts declare.
func subjects(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "proto", "agentcloud", "*", "v1", "*.proto"))
	if err != nil || len(files) == 0 {
		t.Fatalf("the events are not there: %v", err)
	}
	var all []string
	for _, file := range files {
		for _, found := range subject.FindAllStringSubmatch(read(t, file), -1) {
			all = append(all, found[1])
		}
	}
	return all
}

// codeOf is what is written as code, blocks first.
func codeOf(text string) []string {
	var code []string
	for _, found := range fence.FindAllStringSubmatch(text, -1) {
		code = append(code, found[1])
	}
	for _, found := range span.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		code = append(code, found[1])
	}
	return code
}

// checkCommand says what is wrong with a line of our command line: a verb or a flag
// that there is not.
func checkCommand(line string) string {
	words := strings.Fields(strings.NewReplacer("[", " ", "]", " ", ")", " ").Replace(line))
	root := cli.New(io.Discard, newUp())
	root.InitDefaultCompletionCmd() // which a root makes when it is run
	cmd, rest, err := root.Find(words)
	if err != nil || !cmd.HasParent() || !cmd.Runnable() && len(rest) > 0 {
		return "there is no `agentcloud " + line + "`"
	}
	for _, word := range words {
		name, isFlag := strings.CutPrefix(word, "--")
		if name, _, _ = strings.Cut(name, "="); isFlag && !hasFlag(cmd, name) {
			return "`" + cmd.CommandPath() + "` has no flag --" + name
		}
	}
	return ""
}

func hasFlag(cmd *cobra.Command, name string) bool {
	cmd.InitDefaultHelpFlag()
	return cmd.Flag(name) != nil || cmd.InheritedFlags().Lookup(name) != nil
}

// anyHas says whether one of our commands has the flag.
func anyHas(cmd *cobra.Command, name string) bool {
	return hasFlag(cmd, name) || slices.ContainsFunc(cmd.Commands(), func(c *cobra.Command) bool { return anyHas(c, name) })
}
