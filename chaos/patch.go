package main

import (
	"bytes"
	"cmp"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// A planted bug is a mistake that somebody could make, as a patch of the sources.
// It checks that the suite sees such a mistake. Nothing in the program knows of
// it: the patch is applied to copies of the files, and `go build -overlay` reads
// those in place of the originals.

//go:embed planted/*.patch
var planted embed.FS

// patch is a unified diff. The text in front of it says what the bug is.
type patch struct {
	name string // of the bug
	why  string
	text string // all of it
	hunk []hunk
}

// hunk is one change of one file. Its line numbers do not count: the old lines
// must stand in the file exactly once, wherever that is.
type hunk struct {
	file     string // below the root of the module, with slashes
	at       string // the line that begins it
	old, new string // whole lines
}

// patches returns all planted bugs by their names' order.
func patches() ([]patch, error) {
	files, err := fs.Glob(planted, "planted/*.patch")
	if err != nil {
		return nil, err
	}
	var all []patch
	for _, f := range files {
		text, err := planted.ReadFile(f)
		if err != nil {
			return nil, err
		}
		p, err := parsePatch(strings.TrimSuffix(path.Base(f), ".patch"), string(text))
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

func patchByName(name string) (patch, error) {
	all, err := patches()
	if err != nil {
		return patch{}, err
	}
	if i := slices.IndexFunc(all, func(p patch) bool { return p.name == name }); i >= 0 {
		return all[i], nil
	}
	return patch{}, fmt.Errorf("no planted bug is called %q: there is no %s", name, patchFile(name))
}

func patchFile(name string) string { return "chaos/planted/" + name + ".patch" }

func parsePatch(name, text string) (patch, error) {
	p := patch{name: name, text: text}
	file, inside := "", false
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "--- "):
			inside = false
		case strings.HasPrefix(line, "+++ b/"):
			file = strings.TrimSpace(line[len("+++ b/"):])
		case strings.HasPrefix(line, "@@ ") && file != "":
			inside = true
			p.hunk = append(p.hunk, hunk{file: file, at: strings.TrimSpace(line)})
		case inside && line[0] == '\\': // no newline at the end of the file
		case inside:
			h := &p.hunk[len(p.hunk)-1]
			body := line[1:]
			if line == "\n" { // an editor took the blank away
				line, body = " ", "\n"
			}
			switch line[0] {
			case ' ':
				h.old, h.new = h.old+body, h.new+body
			case '-':
				h.old += body
			case '+':
				h.new += body
			default:
				return p, fmt.Errorf("%s: %q is no line of a unified diff", patchFile(name), strings.TrimSpace(line))
			}
		case file == "" && p.why == "":
			p.why = strings.TrimSpace(line)
		}
	}
	if p.why == "" || len(p.hunk) == 0 {
		return p, fmt.Errorf("%s: a line that says what the bug is, and then a unified diff with paths a/ and b/", patchFile(name))
	}
	return p, nil
}

// apply returns the files that the patch changes, as they are after it. Hunks
// that can't be applied are named in the error, and left out.
func (p patch) apply(root string) (changed map[string]string, err error) {
	changed = map[string]string{}
	var errs []error
	for _, h := range p.hunk {
		text, ok := changed[h.file]
		if !ok {
			data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(h.file)))
			if err != nil {
				errs = append(errs, err)
				continue
			}
			text = string(data)
		}
		changed[h.file] = text
		// Whole lines: what stands before them ends one.
		switch n := strings.Count("\n"+text, "\n"+h.old); n {
		case 1:
			changed[h.file] = strings.Replace("\n"+text, "\n"+h.old, "\n"+h.new, 1)[1:]
		default:
			errs = append(errs, fmt.Errorf("its hunk %q fits %d places in %s, not one:\n%s", h.at, n, h.file, h.old))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return changed, fmt.Errorf("%s does not apply to this tree (operations.md#planted-bugs says how to refresh it): %w", patchFile(p.name), err)
	}
	return changed, nil
}

// packages are what the patch changes, as go build takes them.
func (p patch) packages() (all []string) {
	for _, h := range p.hunk {
		all = append(all, "./"+path.Dir(h.file))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// goWithBug runs the go command on the tree at root with the bug in it. scratch is a directory for
// the changed files.
func (p patch) goWithBug(ctx context.Context, root, scratch string, args ...string) error {
	changed, err := p.apply(root)
	if err != nil {
		return err
	}
	if root, err = filepath.Abs(root); err != nil {
		return err
	}
	replace := map[string]string{}
	for file, text := range changed {
		to := filepath.Join(scratch, strings.ReplaceAll(file, "/", "-"))
		if err := os.WriteFile(to, []byte(text), 0o644); err != nil {
			return err
		}
		replace[filepath.Join(root, filepath.FromSlash(file))] = to
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	list := filepath.Join(scratch, "overlay.json")
	if err := os.WriteFile(list, overlay, 0o644); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, cmp.Or(os.Getenv("GO"), "go"), append([]string{args[0], "-overlay", list, "-tags", "chaos"}, args[1:]...)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("with %s the tree does not build: %w\n%s", patchFile(p.name), err, out)
	}
	return nil
}

// build builds baedal with the bug in it.
func (p patch) build(ctx context.Context, root, scratch string) (bin string, err error) {
	dir := filepath.Join(scratch, "planted-"+p.name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	bin = filepath.Join(dir, "baedal")
	return bin, p.goWithBug(ctx, root, dir, "build", "-o", bin, "./cmd/baedal")
}

// plant puts a bug into the working tree, as far as its patch applies, so that a
// person can mend the rest by hand.
func plant(root, name string) error {
	p, err := patchByName(name)
	if err != nil {
		return err
	}
	if out, err := git(root, "status", "--porcelain", "--untracked-files=no"); err != nil || len(bytes.TrimSpace(out)) > 0 {
		return errors.Join(err, fmt.Errorf("the working tree has changes: commit them first, so that the next diff is the bug alone\n%s", out))
	}
	changed, unfit := p.apply(root)
	for file, text := range changed {
		if err := os.WriteFile(filepath.Join(root, filepath.FromSlash(file)), []byte(text), 0o644); err != nil {
			return errors.Join(unfit, err)
		}
	}
	return unfit
}

// refresh makes the working tree's changes the patch of a bug, and takes them
// out of the tree.
func refresh(root, name string) error {
	diff, err := git(root, "diff", "--no-color", "--no-ext-diff", "-U1", "HEAD", "--", ".", ":!chaos")
	if err != nil {
		return err
	}
	if len(diff) == 0 {
		return errors.New("the working tree has no changes that could be a bug: chaos -plant NAME first, or write one")
	}
	why := "TODO: say what the bug is."
	if p, err := patchByName(name); err == nil {
		why = p.why
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%s\n\n", why)
	for line := range strings.Lines(string(diff)) {
		if !strings.HasPrefix(line, "diff --git ") && !strings.HasPrefix(line, "index ") {
			text.WriteString(line)
		}
	}
	if _, err := parsePatch(name, text.String()); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(root, filepath.FromSlash(patchFile(name))), []byte(text.String()), 0o644); err != nil {
		return err
	}
	cmd := exec.Command("git", "apply", "-R", "--unidiff-zero", "-")
	cmd.Dir, cmd.Stdin = root, bytes.NewReader(diff)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s is written, but the bug is still in the working tree: %w: %s", patchFile(name), err, out)
	}
	return nil
}

func git(root string, args ...string) ([]byte, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("git %s: %w", strings.Join(args, " "), err)
	}
	return out, nil
}
