// SPDX-License-Identifier: Apache-2.0

// Package logopt prepares the options of log drivers that need the container's
// labels, environment or names: what the front end does, so that the monitor
// need not link regular expressions and templates.
package logopt

import (
	"regexp"
	"strings"
	"text/template"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// Info is what tags and attributes are made of.
type Info struct {
	ID, Name           string // of the container
	ImageID, ImageName string
	Labels             map[string]string
	Env                []string
}

// Attrs resolves the options labels, labels-regex, env, env-regex and tag into
// the attributes that each record carries; nil where there are none.
func Attrs(l spec.Logging, info Info) (map[string]string, error) {
	attrs := make(map[string]string)
	env := make(map[string]string, len(info.Env))
	for _, kv := range info.Env {
		k, v, _ := strings.Cut(kv, "=")
		env[k] = v
	}
	for _, o := range []struct {
		name string
		from map[string]string
	}{{"labels", info.Labels}, {"env", env}} {
		if err := pick(attrs, l.Options, o.name, o.from); err != nil {
			return nil, err
		}
	}
	if t := l.Options["tag"]; t != "" {
		tag, err := expand(t, info)
		if err != nil {
			return nil, errs.WithHint(&errs.Error{Op: "use log option", Kind: errs.Invalid, Object: "tag=" + t, Err: err},
				"known are {{.ID}}, {{.FullID}}, {{.Name}}, {{.ImageID}}, {{.ImageFullID}}, {{.ImageName}}, {{.DaemonName}}")
		}
		attrs["tag"] = tag
	}
	if len(attrs) == 0 {
		return nil, nil
	}
	return attrs, nil
}

func pick(to, options map[string]string, name string, from map[string]string) error {
	for _, k := range strings.Split(options[name], ",") {
		if v, ok := from[k]; ok && k != "" {
			to[k] = v
		}
	}
	pattern := options[name+"-regex"]
	if pattern == "" {
		return nil
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return errs.WithHint(&errs.Error{Op: "use log option", Kind: errs.Invalid, Object: name + "-regex=" + pattern, Err: err},
			"write a regular expression in Go's syntax")
	}
	for k, v := range from {
		if re.MatchString(k) {
			to[k] = v
		}
	}
	return nil
}

// tagData has the names of Docker's tag templates.
type tagData struct {
	ID, FullID, Name, ImageID, ImageFullID, ImageName, DaemonName string
}

func expand(text string, i Info) (string, error) {
	t, err := template.New("tag").Option("missingkey=error").Parse(text)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = t.Execute(&b, tagData{
		ID: short(i.ID), FullID: i.ID, Name: i.Name, ImageID: short(i.ImageID), ImageFullID: i.ImageID, ImageName: i.ImageName, DaemonName: "proa",
	})
	return b.String(), err
}

func short(id string) string {
	if len(id) > 12 {
		return id[:12]
	}
	return id
}
