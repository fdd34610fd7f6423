package recipe

import (
	"io/fs"
	"strings"
)

// readUVLock adds the pins of uv.lock.
func readUVLock(files fs.FS, deps *dependencies) error {
	const name = "uv.lock"
	var lock struct {
		RequiresPython string `toml:"requires-python"`
		Package        []struct {
			Name    string            `toml:"name"`
			Version string            `toml:"version"`
			Source  map[string]string `toml:"source"`
			Markers []string          `toml:"resolution-markers"`
		} `toml:"package"`
	}
	if err := readTOML(files, name, &lock); err != nil {
		return err
	}
	deps.source = name
	if lock.RequiresPython != "" {
		deps.python = append(deps.python, pythonWish{spec: lock.RequiresPython, from: "requires-python in uv.lock"})
	}
	pins := newPins()
	for _, p := range lock.Package {
		pin := Requirement{Name: normalName(p.Name), Spec: "==" + p.Version, Marker: strings.Join(parenthesised(p.Markers), " or ")}
		switch place := p.Source; {
		case isRoot(place):
			continue // the project itself, which is started from its files
		case place["directory"]+place["editable"]+place["path"]+place["virtual"] != "":
			return at(name, 0, localDependency(pin.Name, place["directory"]+place["editable"]+place["path"]+place["virtual"]))
		case place["git"] != "":
			pin = Requirement{Name: pin.Name, Marker: pin.Marker, URL: lockedGit(place["git"])}
		case place["url"] != "":
			pin = Requirement{Name: pin.Name, Marker: pin.Marker, URL: place["url"]}
		}
		pins.add(pin)
	}
	return pins.apply(deps)
}

func isRoot(place map[string]string) bool {
	return place["virtual"] == "." || place["editable"] == "." || place["directory"] == "."
}

func parenthesised(markers []string) []string {
	out := make([]string, 0, len(markers))
	for _, m := range markers {
		out = append(out, "("+m+")")
	}
	return out
}

// lockedGit turns the lock's "https://host/repo?rev=main&subdirectory=x#<commit>" into an address pinned to the commit.
func lockedGit(place string) string {
	base, commit, _ := strings.Cut(place, "#")
	base, query, _ := strings.Cut(base, "?")
	subdirectory := ""
	for _, pair := range strings.Split(query, "&") {
		if value, ok := strings.CutPrefix(pair, "subdirectory="); ok {
			subdirectory = value
		}
	}
	return gitURL(base, commit, subdirectory)
}

// pins are what a lock file has decided. A pin is a constraint, so that packages
// for other platforms, groups and extras stay out by the project's own markers.
type pins struct {
	byVersion []Requirement
	byURL     map[string]Requirement
}

func newPins() *pins { return &pins{byURL: map[string]Requirement{}} }

func (p *pins) add(pin Requirement) {
	if pin.URL != "" {
		p.byURL[pin.Name] = pin
		return
	}
	if pin.Spec != "==" { // a package without version has nothing to pin
		p.byVersion = append(p.byVersion, pin)
	}
}

// apply puts the pins into deps.
func (p *pins) apply(deps *dependencies) error {
	for i, r := range deps.requirements {
		if pin, ok := p.byURL[r.Name]; ok {
			deps.requirements[i].URL, deps.requirements[i].Spec = pin.URL, ""
			if err := checkURL(deps.requirements[i]); err != nil {
				return at(deps.source, 0, err)
			}
		}
	}
	deps.constraints = append(deps.constraints, p.byVersion...)
	return nil
}
