package manifest

import (
	"fmt"
	"io"
	"io/fs"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// Bounds of a settings file. Nodes are counted with every alias written out, so
// that a few lines that refer to each other cannot become a gigabyte.
const (
	maxBytes = 1 << 20
	maxDepth = 64
	maxNodes = 100_000
)

const userSecretTag = "!user_secret"

// A Problem is what a person has to mend.
type Problem struct{ Reason string }

// Error is the reason.
func (p *Problem) Error() string { return p.Reason }

func problemf(format string, args ...any) error {
	return &Problem{Reason: fmt.Sprintf(format, args...)}
}

// document is a decoded settings file.
type document struct {
	values map[string]any
	// userParams are the dotted names of the values tagged as each user's own.
	userParams []string
}

// readYAML decodes a file of settings.
func readYAML(files fs.FS, name string) (document, error) {
	text, err := readBounded(files, name)
	if err != nil {
		return document{}, err
	}
	return parseYAML(name, text)
}

// readBounded reads a file of at most maxBytes.
func readBounded(files fs.FS, name string) ([]byte, error) {
	file, err := files.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	defer file.Close() //nolint:errcheck // only read
	text, err := io.ReadAll(io.LimitReader(file, maxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(text) > maxBytes {
		return nil, problemf("%s has more than 1 MiB; settings must be smaller", name)
	}
	return text, nil
}

var lineOfError = regexp.MustCompile(`^yaml: (?:unmarshal errors:\s*)?(?:line (\d+): )?(.*)`)

func parseYAML(name string, text []byte) (document, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		m := lineOfError.FindStringSubmatch(err.Error())
		if m == nil || m[1] == "" {
			return document{}, problemf("%s is no valid YAML: %s", name, strings.TrimPrefix(err.Error(), "yaml: "))
		}
		return document{}, problemf("%s line %s is no valid YAML: %s", name, m[1], m[2])
	}
	if len(root.Content) == 0 {
		return document{values: map[string]any{}}, nil
	}
	d := decoder{name: name, budget: maxNodes}
	value, err := d.value(root.Content[0], "", 0)
	if err != nil {
		return document{}, err
	}
	values, ok := value.(map[string]any)
	if value != nil && !ok {
		return document{}, problemf("%s line %d: settings must be a mapping of names to values", name, root.Content[0].Line)
	}
	if values == nil {
		values = map[string]any{}
	}
	return document{values: values, userParams: d.userParams}, nil
}

// decoder turns nodes into what JSON can say.
type decoder struct {
	name       string
	budget     int
	userParams []string
}

func (d *decoder) value(node *yaml.Node, path string, depth int) (any, error) {
	if d.budget--; d.budget < 0 {
		return nil, problemf("%s has more than %d values with its aliases written out; make it smaller", d.name, maxNodes)
	}
	if depth > maxDepth {
		return nil, problemf("%s line %d is nested deeper than %d; make it flatter", d.name, node.Line, maxDepth)
	}
	if node.Tag == userSecretTag {
		d.userParams = append(d.userParams, path)
		return nil, nil
	}
	switch node.Kind {
	case yaml.AliasNode:
		return d.value(node.Alias, path, depth+1)
	case yaml.MappingNode:
		return d.mapping(node, path, depth)
	case yaml.SequenceNode:
		return d.sequence(node, path, depth)
	}
	return d.scalar(node)
}

func (d *decoder) mapping(node *yaml.Node, path string, depth int) (any, error) {
	out, own := map[string]any{}, map[string]bool{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, child := node.Content[i], node.Content[i+1]
		if key.Tag == "!!merge" {
			if err := d.merge(out, own, child, path, depth); err != nil {
				return nil, err
			}
			continue
		}
		if key.Kind != yaml.ScalarNode {
			return nil, problemf("%s line %d: a name must be plain text", d.name, key.Line)
		}
		if own[key.Value] {
			return nil, problemf("%s line %d has %q twice; keep one", d.name, key.Line, key.Value)
		}
		value, err := d.value(child, join(path, key.Value), depth+1)
		if err != nil {
			return nil, err
		}
		out[key.Value], own[key.Value] = value, true
	}
	return out, nil
}

// merge adds the mapping, or mappings, after "<<" where the node has no value of its own.
func (d *decoder) merge(out map[string]any, own map[string]bool, node *yaml.Node, path string, depth int) error {
	value, err := d.value(node, path, depth+1)
	if err != nil {
		return err
	}
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	for _, item := range list {
		table, ok := item.(map[string]any)
		if !ok {
			return problemf("%s line %d: only a mapping can be merged", d.name, node.Line)
		}
		for key, v := range table {
			if _, there := out[key]; !there && !own[key] {
				out[key] = v
			}
		}
	}
	return nil
}

func (d *decoder) sequence(node *yaml.Node, path string, depth int) (any, error) {
	out := make([]any, 0, len(node.Content))
	for i, child := range node.Content {
		value, err := d.value(child, join(path, strconv.Itoa(i)), depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, value)
	}
	return out, nil
}

func (d *decoder) scalar(node *yaml.Node) (any, error) {
	if strings.HasPrefix(node.Tag, "!") && !strings.HasPrefix(node.Tag, "!!") {
		return node.Value, nil // a tag of the author's own says nothing to us
	}
	var value any
	if err := node.Decode(&value); err != nil {
		return nil, problemf("%s line %d: %.80q cannot be read", d.name, node.Line, node.Value)
	}
	switch v := value.(type) {
	case time.Time:
		return node.Value, nil // JSON has no dates
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, problemf("%s line %d: %s is no number that settings can hold", d.name, node.Line, node.Value)
		}
	case []byte:
		return node.Value, nil
	}
	return value, nil
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
