package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// A Setting is one key, for help texts.
type Setting struct {
	Key     string
	Default string
	// Help is the field's `help` tag.
	Help string
}

// Describe lists every key of the settings with its default, in the struct's order.
func Describe(defaults any) []Setting {
	return describe("", reflect.Indirect(reflect.ValueOf(defaults)))
}

func describe(prefix string, settings reflect.Value) []Setting {
	var list []Setting
	for field, value := range settings.Fields() {
		name, ok := field.Tag.Lookup(tag)
		if !ok || !field.IsExported() {
			continue
		}
		key := prefix + name
		if value.Kind() == reflect.Struct {
			list = append(list, describe(key+delimiter, value)...)
			continue
		}
		list = append(list, Setting{Key: key, Default: show(value), Help: field.Tag.Get(helpTag)})
	}
	return list
}

// show writes a value the way --set reads it.
func show(value reflect.Value) string {
	switch value.Kind() {
	case reflect.Map:
		var parts []string
		for k, v := range value.Seq2() {
			parts = append(parts, fmt.Sprintf("%v=%v", k, v))
		}
		slices.Sort(parts)
		return strings.Join(parts, ",")
	case reflect.Slice:
		var parts []string
		for _, v := range value.Seq2() {
			parts = append(parts, fmt.Sprint(v))
		}
		return strings.Join(parts, ",")
	default:
		return fmt.Sprint(value.Interface())
	}
}

func keys(settings any) []string {
	var list []string
	for _, s := range Describe(settings) {
		list = append(list, s.Key)
	}
	return list
}

const (
	manyNear = 3
	farApart = 8
)

// unknown names the keys that were probably meant.
func unknown(key string, known []string) error {
	distances := map[string]int{}
	for _, k := range known {
		if d := distance(key, k); d <= farApart {
			distances[k] = d
		}
	}
	near := slices.SortedFunc(maps.Keys(distances), func(a, b string) int {
		if d := distances[a] - distances[b]; d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	if len(near) == 0 {
		return fmt.Errorf("there is no setting %q; --help lists them all", key)
	}
	return fmt.Errorf("there is no setting %q; near it are %s", key, strings.Join(near[:min(manyNear, len(near))], ", "))
}

// distance is the number of letters to add, remove or change (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
