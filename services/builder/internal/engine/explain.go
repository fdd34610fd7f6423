package engine

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/mcpagentcloud/agentcloud/services/builder/internal/recipe"
)

// explanation is a pattern of the installer's output and the sentence it means.
type explanation struct {
	pattern *regexp.Regexp
	reason  string // $1 … are the pattern's groups; %s is the project's file
}

var explanations = []explanation{
	{
		regexp.MustCompile(`(?i)([A-Za-z0-9._-]+)(?:\[[^\]]*\])? was not found in the (?:package registry|provided package locations)`),
		"there is no package called $1 in the package index; check its name in %s",
	},
	{
		regexp.MustCompile(`there (?:is|are) no versions? of ([A-Za-z0-9._-]+)(?:\[[^\]]*\])?((?:[=<>!~]=?=?|===)\S+)`),
		"there is no version of $1 that meets $2; check it in %s",
	},
	{
		regexp.MustCompile(`only (?:the following versions of )?([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s?([=<>!~][^,\n]*?) (?:is|are) available`),
		"the version of $1 that %s asks for does not exist; the index has $1$2",
	},
	{
		regexp.MustCompile(`does not satisfy Python\s*([^\s,]+(?:,[^\s,]+)*) and ([A-Za-z0-9._-]+)`),
		"$2 needs Python $1; ask for that Python with requires-python, or for another version of $2 in %s",
	},
	{
		regexp.MustCompile("(?i)failed to (?:build|resolve|download and build) `?([^`\\s]+)`?"),
		"the package $1 has to be built from source, and that failed; choose a version with a wheel for this Python in %s, or see the last lines",
	},
	{
		regexp.MustCompile(`(?i)Git operation failed|failed to (?:clone|fetch)[^\n]*git`),
		"a git+https:// dependency cannot be fetched; check its address and revision in %s",
	},
	{
		regexp.MustCompile(`(?i)no space left on device`),
		"the disk of the builder is full; whoever runs this cloud must free space",
	},
	{
		regexp.MustCompile(`(?i)failed to fetch|error sending request|dns error|connection refused|timed out`),
		"the package index cannot be reached; try again, and tell whoever runs this cloud if it stays so",
	},
}

var requires = regexp.MustCompile(`you require ([A-Za-z0-9._-]+(?:\[[^\]]*\])?[=<>!~][^\s,]*)[^\n]*? and (?:you require )?([A-Za-z0-9._-]+(?:\[[^\]]*\])?[=<>!~][^\s,]*)`)

// explain turns a failed run into a Problem with one sentence and the real output.
func (e *Engine) explain(err error, out *tail, w Wishes) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return &recipe.Problem{Reason: fmt.Sprintf("the build took longer than %s and was stopped; see the last lines for where it was", e.cfg.Deadline), Detail: out.detail()}
	}
	if !errors.Is(err, errFailed) {
		return err
	}
	return &recipe.Problem{Reason: reasonOf(out.whole(), w.Source), Detail: out.detail()}
}

// reasonOf finds the sentence that the output means.
func reasonOf(output, source string) string {
	if source == "" {
		source = "the project's dependencies"
	}
	text := strings.Join(strings.Fields(output), " ")
	for _, x := range explanations {
		m := x.pattern.FindStringSubmatchIndex(text)
		if m == nil {
			continue
		}
		reason := string(x.pattern.ExpandString(nil, strings.ReplaceAll(x.reason, "%s", source), text, m))
		return strings.NewReplacer("``", "`").Replace(reason)
	}
	if m := requires.FindStringSubmatch(text); m != nil {
		return fmt.Sprintf("%s asks for %s and %s, which exclude each other; relax one", source, m[1], m[2])
	}
	if strings.Contains(text, "No solution found") {
		return "the versions that " + source + " asks for exclude each other; relax one, see the last lines"
	}
	return "the packages of " + source + " could not be installed; see the last lines"
}
