package deadletters

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Filter chooses among dead letters. The zero value takes all.
type Filter struct {
	only map[string][]func(*Letter) bool // any of those of one key, and all keys
}

// Keys of filters.
var filterKeys = map[string]func(value, prefix string, now time.Time) (func(*Letter) bool, error){
	"group": func(v, prefix string, _ time.Time) (func(*Letter) bool, error) {
		return func(l *Letter) bool { return l.Group == v || l.Group == prefix+v }, nil
	},
	"topic": func(v, prefix string, _ time.Time) (func(*Letter) bool, error) {
		return func(l *Letter) bool { return l.From.Topic == v || l.From.Topic == prefix+v }, nil
	},
	"error": func(v, _ string, _ time.Time) (func(*Letter) bool, error) {
		return func(l *Letter) bool { return strings.Contains(l.Error, v) }, nil
	},
	"key": func(v, _ string, _ time.Time) (func(*Letter) bool, error) {
		return func(l *Letter) bool { return string(l.Key) == v }, nil
	},
	"since": func(v, _ string, now time.Time) (func(*Letter) bool, error) {
		from, err := time.Parse(time.RFC3339, v)
		if err != nil {
			d, err := time.ParseDuration(v)
			if err != nil || d < 0 {
				return nil, fmt.Errorf("since=%s: a duration such as 2h, or a time such as 2026-01-02T15:04:05Z", v)
			}
			from = now.Add(-d)
		}
		return func(l *Letter) bool { return !l.At.Before(from) }, nil
	},
	"id": func(v, _ string, _ time.Time) (func(*Letter) bool, error) {
		id, err := ParseID(v)
		return func(l *Letter) bool { return l.ID == id }, err
	},
}

// ParseFilter reads KEY=VALUE. Of one key any value will do; of several keys all
// must fit. Groups and topics may be named without the prefix.
func ParseFilter(only []string, prefix string, now time.Time) (Filter, error) {
	f := Filter{only: map[string][]func(*Letter) bool{}}
	for _, o := range only {
		key, value, ok := strings.Cut(o, "=")
		parse := filterKeys[key]
		if !ok || parse == nil || value == "" {
			return f, fmt.Errorf("%q is not KEY=VALUE with a KEY of group, topic, error, key, since, id", o)
		}
		match, err := parse(value, prefix, now)
		if err != nil {
			return f, err
		}
		f.only[key] = append(f.only[key], match)
	}
	return f, nil
}

// Only returns a filter that takes these letters.
func Only(ids ...ID) Filter {
	wanted := func(l *Letter) bool { return slices.Contains(ids, l.ID) }
	return Filter{only: map[string][]func(*Letter) bool{"id": {wanted}}}
}

// Match tells whether a letter is wanted.
func (f Filter) Match(l *Letter) bool {
	for _, any := range f.only {
		if !slices.ContainsFunc(any, func(match func(*Letter) bool) bool { return match(l) }) {
			return false
		}
	}
	return true
}
