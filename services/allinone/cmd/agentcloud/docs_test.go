package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/mcpagentcloud/agentcloud/services/cli"
)

const root = "../../../.."

var (
	link     = regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)
	fence    = regexp.MustCompile("(?s)```[a-z]*\n(.*?)```")
	span     = regexp.MustCompile("`([^`\n]+)`")
	ours     = regexp.MustCompile(`(?m)(?:^|[(/])agentcloud ([a-z]+(?:[ )][^#\n")|]*|$))`)
	makes    = regexp.MustCompile(`(?m)(?:^|\s)make ([a-z][a-z-]*)`)
	pathLike = regexp.MustCompile(`^(?:services|pkg|deploy|proto|examples|docs)/[\w./-]+$`)
)

// TestDocs keeps what the pages name true: links, files, commands, flags and verbs.
func TestDocs(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(pages) < 10 {
		t.Fatalf("the pages are not there: %v, %v", pages, err)
	}
	pages = append(pages, filepath.Join(root, "README.md"), filepath.Join(root, "examples", "README.md"))
	makefile := read(t, filepath.Join(root, "Makefile"))
	for _, page := range pages {
		t.Run(filepath.Base(page), func(t *testing.T) {
			t.Parallel()
			text := read(t, page)
			for _, found := range link.FindAllStringSubmatch(text, -1) {
				exists(t, filepath.Join(filepath.Dir(page), found[1]))
			}
			for _, code := range codeOf(text) {
				if pathLike.MatchString(code) {
					exists(t, filepath.Join(root, code))
				}
				for _, found := range ours.FindAllStringSubmatch(code, -1) {
					checkCommand(t, found[1])
				}
				for _, found := range makes.FindAllStringSubmatch(code, -1) {
					if !strings.Contains(makefile, "\n"+found[1]+":") {
						t.Errorf("there is no `make %s`", found[1])
					}
				}
			}
		})
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

// checkCommand fails unless our command line has that verb and those flags.
func checkCommand(t *testing.T, line string) {
	t.Helper()
	words := strings.Fields(strings.NewReplacer("[", " ", "]", " ", ")", " ").Replace(line))
	cmd, _, err := cli.New(io.Discard, newUp()).Find(words)
	if err != nil || !cmd.HasParent() {
		t.Errorf("there is no `agentcloud %s`: %v", line, err)
		return
	}
	for _, word := range words {
		name, isFlag := strings.CutPrefix(word, "--")
		if name, _, _ = strings.Cut(name, "="); isFlag && !hasFlag(cmd, name) {
			t.Errorf("`%s` has no flag --%s", cmd.CommandPath(), name)
		}
	}
}

func hasFlag(cmd *cobra.Command, name string) bool {
	cmd.InitDefaultHelpFlag()
	return cmd.Flag(name) != nil || cmd.InheritedFlags().Lookup(name) != nil
}
