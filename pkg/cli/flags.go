// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// flagSet collects the flags of one command.
type flagSet struct {
	list  []*flagDef
	named map[string]*flagDef // by name, alias and "-s"
}

// flagDef is one flag: its description, and its value once set. It is a flag
// of urfave/cli and a flag.Value at once.
type flagDef struct {
	name, short string
	aliases     []string // further long names: accepted, not shown
	typ         string   // what the help prints after the name
	usage       string
	def         string // default shown in the help
	isBool      bool
	hidden      bool
	refused     string // why this flag is not supported
	hint        string
	repeats     bool          // may be given several times
	suggest     suggester     // its values, for completion
	options     []spec.Option // the words that its value is made of, for the manual
	set         func(string) error
	given       bool // on the command line
	seen        bool
	err         error // of the last Set
}

// The interface cli.Flag.

func (d *flagDef) Names() []string               { return []string{d.name} }
func (d *flagDef) IsSet() bool                   { return d.seen }
func (d *flagDef) Apply(set *flag.FlagSet) error { set.Var(d, d.name, d.usage); return nil }
func (d *flagDef) String() string                { return d.def }
func (d *flagDef) IsBoolFlag() bool              { return d.isBool }

// Set parses one occurrence. The error is kept: the flag package would hand
// on only its text.
func (d *flagDef) Set(s string) error {
	d.seen = true
	if d.refused != "" {
		d.err = &errs.Error{Kind: errs.Unsupported, Err: fmt.Errorf("--%s is not supported: %s", d.name, d.refused), Hint: d.hint}
		return d.err
	}
	if err := d.set(s); err != nil {
		d.err = d.argError(s, err)
	}
	return d.err
}

// argError is pflag's sentence about a value, which Docker prints.
func (d *flagDef) argError(value string, err error) error {
	name := "--" + d.name
	if d.short != "" {
		name = "-" + d.short + ", " + name
	}
	return &errs.Error{Kind: errs.KindOf(err), Hint: errs.HintOf(err),
		Err: fmt.Errorf("invalid argument %q for %q flag: %w", value, name, err)}
}

func (f *flagSet) add(d *flagDef) *flagDef {
	if f.named == nil {
		f.named = map[string]*flagDef{}
	}
	f.list = append(f.list, d)
	f.named[d.name] = d
	if d.short != "" {
		f.named["-"+d.short] = d
	}
	return d
}

// alias accepts further names for the flag.
func (f *flagSet) alias(d *flagDef, names ...string) {
	d.aliases = append(d.aliases, names...)
	for _, n := range names {
		f.named[n] = d
	}
}

// changed reports whether the flag was given.
func (f *flagSet) changed(name string) bool { return f.named[name] != nil && f.named[name].seen }

func (f *flagSet) boolean(p *bool, name, short, usage string) *flagDef {
	d := &flagDef{name: name, short: short, usage: usage, isBool: true, set: func(s string) error {
		b, err := strconv.ParseBool(s)
		if err != nil {
			return errs.New(errs.Invalid, "write true or false")
		}
		*p = b
		return nil
	}}
	if *p {
		d.def = "true"
	}
	return f.add(d)
}

func (f *flagSet) text(p *string, name, short, usage string) *flagDef {
	return f.add(&flagDef{name: name, short: short, typ: "string", usage: usage, def: *p, set: func(s string) error { *p = s; return nil }})
}

// texts is a flag that may be given several times.
func (f *flagSet) texts(p *[]string, name, short, usage string) *flagDef {
	return f.add(&flagDef{name: name, short: short, typ: "list", usage: usage, repeats: true,
		set: func(s string) error { *p = append(*p, s); return nil }})
}

func (f *flagSet) integer(p *int, name, short, usage string) *flagDef {
	d := f.add(&flagDef{name: name, short: short, typ: "int", usage: usage, set: func(s string) error { return setInt(p, s) }})
	if *p != 0 {
		d.def = strconv.Itoa(*p)
	}
	return d
}

// optInt is a number for which not given differs from zero.
func (f *flagSet) optInt(p **int, name, short, usage string) *flagDef {
	return f.add(&flagDef{name: name, short: short, typ: "int", usage: usage, set: func(s string) error {
		var n int
		if err := setInt(&n, s); err != nil {
			return err
		}
		*p = &n
		return nil
	}})
}

func setInt(p *int, s string) error {
	n, err := strconv.ParseInt(s, 0, 64)
	if err != nil {
		return errs.New(errs.Invalid, "strconv.ParseInt: parsing %q: invalid syntax", s)
	}
	*p = int(n)
	return nil
}

// parsed is a flag whose text a function of pkg/spec understands.
func parsed[T any](f *flagSet, p *T, name, short, typ, usage string, parse func(string) (T, error)) *flagDef {
	return f.add(&flagDef{name: name, short: short, typ: typ, usage: usage, set: func(s string) error {
		v, err := parse(s)
		if err == nil {
			*p = v
		}
		return err
	}})
}

// parsedList is parsed for a flag that may be given several times.
func parsedList[T any](f *flagSet, p *[]T, name, short, typ, usage string, parse func(string) (T, error)) *flagDef {
	return f.add(&flagDef{name: name, short: short, typ: typ, usage: usage, repeats: true, set: func(s string) error {
		v, err := parse(s)
		if err == nil {
			*p = append(*p, v)
		}
		return err
	}})
}

// refuse names flags of Docker and podman that have no meaning here, with the
// reason. A name that ends in "!" takes no value.
func (f *flagSet) refuse(reason, hint string, names ...string) {
	for _, n := range names {
		n, isBool := strings.CutSuffix(n, "!")
		n, short, _ := strings.Cut(n, "|")
		f.add(&flagDef{name: n, short: short, isBool: isBool, typ: "string", hidden: true, refused: reason, hint: hint})
	}
}

// accept names flags that ask for what happens anyway.
func (f *flagSet) accept(why string, names ...string) {
	for _, n := range names {
		n, isBool := strings.CutSuffix(n, "!")
		f.add(&flagDef{name: n, isBool: isBool, typ: "string", usage: why, hidden: true, set: func(string) error { return nil }})
	}
}

// fixed names a switch that stands at want here: the other way is refused with
// the reason.
func (f *flagSet) fixed(name string, want bool, reason, hint string) {
	f.add(&flagDef{name: name, isBool: true, hidden: true, set: func(s string) error {
		b, err := strconv.ParseBool(s)
		if err == nil && b != want {
			err = errs.WithHint(errs.New(errs.Unsupported, "%s", reason), "%s", hint)
		}
		return err
	}})
}

// parseWhen is spec.ParseWhen for a flag.
func parseWhen(now time.Time) func(string) (time.Time, error) {
	return func(s string) (time.Time, error) { return spec.ParseWhen(now, s) }
}

// parseImageForm says whether an image is to have Docker's form.
func parseImageForm(s string) (docker bool, err error) {
	switch s {
	case "oci", "docker":
		return s == "docker", nil
	}
	return false, errs.WithHint(errs.New(errs.Invalid, "unrecognized image form %q", s), "use oci or docker")
}

// parseFilters reads --filter values: key=value.
func parseFilters(values []string) (map[string][]string, error) {
	if len(values) == 0 {
		return nil, nil
	}
	m := map[string][]string{}
	for _, v := range values {
		k, val, ok := strings.Cut(v, "=")
		k = strings.ToLower(strings.TrimSpace(k))
		if !ok || k == "" {
			return nil, errs.WithHint(errs.New(errs.Invalid, "invalid argument %q for \"--filter\" flag: invalid filter %q (expected name=value)", v, v), "write --filter name=value")
		}
		m[k] = append(m[k], strings.TrimSpace(val))
	}
	return m, nil
}
