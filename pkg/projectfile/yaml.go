package projectfile

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Bounds of a file. Nodes are counted with every alias written out, so that a few
// lines that refer to each other cannot become a gigabyte.
const (
	maxBytes = 256 << 10
	maxDepth = 32
	maxNodes = 20_000
)

var lineOfError = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)

// readYAML returns the file as plain values, and the line of each field.
func readYAML(text []byte) (map[string]any, map[string]int, error) {
	if len(text) > maxBytes {
		return nil, nil, Mistakes{{Reason: fmt.Sprintf("the file has more than %d KiB", maxBytes>>10)}}
	}
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		m := lineOfError.FindStringSubmatch(err.Error())
		if m == nil {
			return nil, nil, Mistakes{{Reason: "this is no valid YAML"}}
		}
		line, _ := strconv.Atoi(m[1]) // digits, or 0
		return nil, nil, Mistakes{{Line: line, Reason: "this is no valid YAML: " + m[2]}}
	}
	r := reader{lines: map[string]int{}, budget: maxNodes}
	if len(root.Content) == 0 {
		return map[string]any{}, r.lines, nil
	}
	value, err := r.value(root.Content[0], "", 0)
	if err != nil {
		return nil, nil, err
	}
	switch v := value.(type) {
	case nil:
		return map[string]any{}, r.lines, nil
	case map[string]any:
		return v, r.lines, nil
	}
	return nil, nil, Mistakes{{Line: 1, Reason: "the file must be a mapping of sections, such as `schedules:`"}}
}

// reader turns nodes into what JSON can say.
type reader struct {
	lines  map[string]int
	budget int
}

func (r *reader) value(node *yaml.Node, path string, depth int) (any, error) {
	r.budget--
	switch {
	case r.budget < 0:
		return nil, wrong(node, path, fmt.Sprintf("the file has more than %d values with its aliases written out", maxNodes))
	case depth > maxDepth:
		return nil, wrong(node, path, fmt.Sprintf("this is nested deeper than %d", maxDepth))
	}
	switch node.Kind {
	case yaml.AliasNode:
		return r.value(node.Alias, path, depth+1)
	case yaml.MappingNode:
		return r.mapping(node, path, depth)
	case yaml.SequenceNode:
		return r.sequence(node, path, depth)
	}
	return scalar(node, path)
}

func (r *reader) mapping(node *yaml.Node, path string, depth int) (any, error) {
	out := map[string]any{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, child := node.Content[i], node.Content[i+1]
		at := join(path, key.Value)
		switch _, twice := out[key.Value]; {
		case key.Kind != yaml.ScalarNode || key.Tag == "!!merge":
			return nil, wrong(key, path, "a name must be plain text")
		case twice:
			return nil, wrong(key, at, "this name is there twice; keep one")
		}
		r.lines[at] = key.Line
		value, err := r.value(child, at, depth+1)
		if err != nil {
			return nil, err
		}
		out[key.Value] = value
	}
	return out, nil
}

func (r *reader) sequence(node *yaml.Node, path string, depth int) (any, error) {
	out := make([]any, 0, len(node.Content))
	for i, child := range node.Content {
		at := join(path, strconv.Itoa(i))
		r.lines[at] = child.Line
		value, err := r.value(child, at, depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, value)
	}
	return out, nil
}

func scalar(node *yaml.Node, path string) (any, error) {
	if strings.HasPrefix(node.Tag, "!") && !strings.HasPrefix(node.Tag, "!!") {
		return nil, wrong(node, path, fmt.Sprintf("the tag %s means nothing here", node.Tag))
	}
	var value any
	if err := node.Decode(&value); err != nil {
		return nil, wrong(node, path, "this value cannot be read")
	}
	switch v := value.(type) {
	case time.Time, []byte:
		return node.Value, nil // JSON has no dates
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, wrong(node, path, "this is no number")
		}
	}
	return value, nil
}

func wrong(node *yaml.Node, path, reason string) error {
	return Mistakes{{Line: node.Line, Field: path, Reason: reason}}
}
