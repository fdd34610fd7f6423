package config

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// pairs reads "room=address,room=address" into a map.
func pairs(from, to reflect.Type, value any) (any, error) {
	text, isText := value.(string)
	if !isText || to.Kind() != reflect.Map || from.Kind() != reflect.String {
		return value, nil
	}
	m := map[string]string{}
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		k, v, ok := strings.Cut(part, "=")
		if !ok {
			return nil, fmt.Errorf("%q: write name=value,name=value", text)
		}
		m[strings.TrimSpace(k)] = strings.TrimSpace(v)
	}
	return m, nil
}

// refuseEmpty keeps an empty text, for example of a variable that a script forgot to
// fill, from meaning 0 or false.
func refuseEmpty(_, to reflect.Type, value any) (any, error) {
	if value != "" {
		return value, nil
	}
	switch to.Kind() {
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Float32, reflect.Float64:
		return nil, errors.New("is empty: give a value or leave it out")
	default:
		return value, nil
	}
}

// refuseUnitless keeps "30" from meaning 30 nanoseconds.
func refuseUnitless(from, to reflect.Type, value any) (any, error) {
	duration := reflect.TypeFor[time.Duration]()
	if to != duration || from == duration || from.Kind() == reflect.String || reflect.ValueOf(value).IsZero() {
		return value, nil
	}
	return nil, fmt.Errorf("%v has no unit: write %vs or %vm", value, value, value)
}
