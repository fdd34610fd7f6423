package runs

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
)

const (
	maxLabels     = 16
	maxLabelValue = 200
)

// labelKey is what a key may be; it has no "=", which ends it.
var labelKey = regexp.MustCompile(`^[A-Za-z0-9._/-]{1,63}$`)

// unsearchable cannot be looked for in Temporal's lists of keywords on SQLite: they
// quote with some and separate with the last.
const unsearchable = "\"'\\♡"

// labelsOf checks labels and gives them as they are searched for, in order.
func labelsOf(labels map[string]string) ([]string, error) {
	if len(labels) > maxLabels {
		return nil, fault.Invalid.Errorf("a run has at most %d labels; these are %d", maxLabels, len(labels))
	}
	var all []string
	for key, value := range labels {
		if err := checkLabel(key, value); err != nil {
			return nil, err
		}
		all = append(all, key+"="+value)
	}
	slices.Sort(all)
	return all, nil
}

func checkLabel(key, value string) error {
	switch {
	case !labelKey.MatchString(key):
		return fault.Invalid.Errorf(`the key of the label %q must be letters, digits and "._/-", at most 63`, key)
	case len(value) > maxLabelValue:
		return fault.Invalid.Errorf("the value of the label %s has %d bytes; at most %d are taken", key, len(value), maxLabelValue)
	case !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl) || strings.ContainsAny(value, unsearchable):
		return fault.Invalid.Errorf("the value of the label %s must be plain text without quotes and backslashes", key)
	}
	return nil
}

// labelsIn reads the labels of a run; nil when it has none.
func labelsIn(attributes *commonpb.SearchAttributes) map[string]string {
	payload := attributes.GetIndexedFields()[flow.LabelsAttribute]
	var all []string
	if payload == nil || converter.GetDefaultDataConverter().FromPayload(payload, &all) != nil {
		return nil
	}
	labels := map[string]string{}
	for _, label := range all {
		if key, value, ok := strings.Cut(label, "="); ok {
			labels[key] = value
		}
	}
	return labels
}
