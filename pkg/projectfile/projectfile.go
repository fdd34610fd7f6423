// Package projectfile reads agentcloud.yaml, in which a project says what the cloud
// shall do with it: its schedules, how many processes it has and when they end, how its runs begin, how its activities are tried and its stdio servers run.
//
// The file is data: nothing in it is run, and it holds no secrets. Each mistake is
// told with its line and field, all of them at once.
package projectfile

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// Name is the file's name, beside main.py.
const Name = "agentcloud.yaml"

// Schema is the JSON schema (2020-12) of the file.
//
//go:embed schema.json
var Schema []byte

// Document is a file that was read and found right.
type Document struct {
	File File
	// JSON is the file as a JSON object.
	JSON string
	// Lines is where each field begins, by its path: "schedules.nightly.cron".
	Lines map[string]int
}

// Mistakes are what a person has to mend.
type Mistakes []Mistake

// Mistake is one of them.
type Mistake struct {
	// Line counts from 1; 0 when it is not known.
	Line int
	// Field is a path such as "schedules.nightly.cron"; empty: the whole file.
	Field string
	// Reason is a sentence with what to do.
	Reason string
}

// Error says one mistake a line.
func (m Mistakes) Error() string {
	var lines []string
	for _, one := range m {
		lines = append(lines, one.String())
	}
	return strings.Join(lines, "\n")
}

// String says where the mistake is and what it is.
func (m Mistake) String() string {
	where := Name
	if m.Line > 0 {
		where += fmt.Sprintf(" line %d", m.Line)
	}
	if m.Field != "" {
		where += ": " + m.Field
	}
	return where + ": " + m.Reason
}

// Parse reads a file. It fails with Mistakes.
func Parse(text []byte) (Document, error) {
	value, lines, err := readYAML(text)
	if err != nil {
		return Document{}, err
	}
	encoded, err := json.Marshal(value)
	if err != nil {
		return Document{}, fmt.Errorf("encode %s: %w", Name, err)
	}
	d := Document{JSON: string(encoded), Lines: lines}
	if mistakes := d.misfits(encoded); len(mistakes) > 0 {
		return Document{}, mistakes
	}
	if d.File, err = Decode(d.JSON); err != nil {
		return Document{}, Mistakes{{Reason: err.Error()}}
	}
	if mistakes := d.check(); len(mistakes) > 0 {
		return Document{}, mistakes
	}
	return d, nil
}

// At is a mistake in a field, with the line of it or of what holds it.
func (d Document) At(field, reason string) Mistake {
	return Mistake{Line: LineOf(d.Lines, field), Field: field, Reason: reason}
}

// LineOf is the line of a field or of the nearest that holds it; 0 when none is known.
func LineOf[N int | int32](lines map[string]N, field string) N {
	for {
		if line, ok := lines[field]; ok {
			return line
		}
		cut := strings.LastIndexByte(field, '.')
		if cut < 0 {
			return 0
		}
		field = field[:cut]
	}
}

// misfits are what the schema says.
func (d Document) misfits(encoded []byte) Mistakes {
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(encoded))
	if err != nil {
		return Mistakes{{Reason: err.Error()}}
	}
	var failed *jsonschema.ValidationError
	if err := compiled().Validate(instance); !errors.As(err, &failed) {
		return nil
	}
	mistakes := d.leaves(failed, nil)
	slices.SortStableFunc(mistakes, func(a, b Mistake) int { return a.Line - b.Line })
	return slices.Compact(mistakes)
}

func compiled() *jsonschema.Schema {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema))
	if err != nil {
		panic(err) // the schema is embedded at compile time, and tested
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	const name = "memory:agentcloud"
	if err := compiler.AddResource(name, doc); err != nil {
		panic(err)
	}
	return compiler.MustCompile(name)
}

var english = message.NewPrinter(language.English)

// leaves lists the innermost mistakes. Of alternatives it follows the one that fits best.
func (d Document) leaves(e *jsonschema.ValidationError, found Mistakes) Mistakes {
	field := strings.Join(e.InstanceLocation, ".")
	switch k := e.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			found = append(found, d.At(join(field, name), "this field is not known; see `agentcloud schema`"))
		}
		return found
	case *kind.Required:
		return append(found, d.At(field, "these fields are missing: "+strings.Join(k.Missing, ", ")))
	case *kind.PropertyNames:
		return append(found, d.At(join(field, k.Property), naming(field)))
	case *kind.Pattern:
		return append(found, d.At(field, fmt.Sprintf("%q does not fit; write it like 30s, 15m, 1h30m or 7d", k.Got)))
	case *kind.AnyOf, *kind.OneOf:
		return d.alternative(e, field, found)
	}
	if len(e.Causes) == 0 {
		return append(found, d.At(field, e.ErrorKind.LocalizedString(english)))
	}
	for _, cause := range e.Causes {
		found = d.leaves(cause, found)
	}
	return found
}

// naming says how the names of a section are made.
func naming(section string) string {
	switch section {
	case "retries":
		return "write the name of a step or tool, a beginning of one followed by *, or *"
	case "sidecars":
		return "write the name of a server, which has at most 200 letters"
	}
	return "names have small letters, digits and dashes, at most 60"
}

// alternative tells why the closest of several kinds does not fit: the one whose
// mistakes lie deepest, or the choice itself.
func (d Document) alternative(e *jsonschema.ValidationError, field string, found Mistakes) Mistakes {
	var best Mistakes
	missing := 0
	for _, cause := range e.Causes {
		mistakes := d.leaves(cause, nil)
		if len(mistakes) == 0 {
			continue
		}
		if strings.HasPrefix(mistakes[0].Reason, "these fields are missing") && mistakes[0].Field == field {
			missing++
		}
		if mistakes[0].Field != field && (best == nil || len(mistakes) < len(best)) {
			best = mistakes
		}
	}
	switch {
	case best != nil:
		return append(found, best...)
	case missing == len(e.Causes):
		return append(found, d.At(field, "say when it is due: cron, interval or calendar"))
	case len(e.Causes) > 0:
		return d.leaves(e.Causes[0], found)
	}
	return append(found, d.At(field, "it fits two kinds at once"))
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
