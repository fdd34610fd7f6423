package runs

import (
	"regexp"
	"strings"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
)

const maxQuery = 4096

// A caller's own condition is put in parentheses beside ours, so it must not be able to
// close them. It is read word by word, and what is not known here is refused: comments,
// backslashes, quotes in quotes, other statements, and attributes that would widen the scope.
var queryWord = regexp.MustCompile(`^(?:\s+|'[^'"\\]*'|"[^'"\\]*"|[A-Za-z_][A-Za-z0-9_]*|-?[0-9]+(?:\.[0-9]+)?|<=|>=|!=|[=<>,()])`)

// queryNames are the operators and attributes of Temporal that may be asked about.
const queryNames = ` and or not in between is null starts_with
	executionstatus workflowtype workflowid runid starttime closetime executiontime executionduration
	historylength historysizebytes statetransitioncount parentworkflowid parentrunid rootworkflowid rootrunid taskqueue
	temporalworkerdeployment temporalworkerdeploymentversion temporalworkflowversioningbehavior
	agentcloudtarget agentcloudversion agentcloudcaller agentcloudlabels `

var queryName = nameSet(queryNames)

func nameSet(text string) map[string]bool {
	set := map[string]bool{}
	for name := range strings.FieldsSeq(text) {
		set[name] = true
	}
	return set
}

// ownQuery checks a caller's own condition; it is empty when there is none.
func ownQuery(text string) ([]string, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	if len(text) > maxQuery {
		return nil, fault.TooLarge.Errorf("the query has %d bytes; at most %d are taken", len(text), maxQuery)
	}
	depth := 0
	for rest := text; rest != "" && depth >= 0; {
		word := queryWord.FindString(rest)
		if word == "" {
			return nil, fault.Invalid.Errorf("the query is not understood from here on: %.40s", rest)
		}
		rest = rest[len(word):]
		switch {
		case word == "(":
			depth++
		case word == ")":
			depth--
		case isName(word) && !queryName[strings.ToLower(word)]:
			return nil, fault.Invalid.Errorf("the query may not ask for %s; write conditions such as WorkflowType = 'Greet' AND HistoryLength > 100", word)
		}
	}
	if depth != 0 {
		return nil, fault.Invalid.Errorf("the parentheses of the query do not match")
	}
	return []string{"(" + text + ")"}, nil
}

func isName(word string) bool {
	first := word[0] | 0x20 // lower case of a letter
	return first >= 'a' && first <= 'z' || word[0] == '_'
}
