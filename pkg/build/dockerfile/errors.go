// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"errors"
	"fmt"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/redact"
)

// lineError points err at the line of the Dockerfile that it came from, with
// the line itself shown.
func lineError(name string, text []byte, err error) error {
	line := lineOf(err)
	kind := errs.KindOf(err)
	if kind == errs.Internal {
		kind = errs.Invalid
	}
	if line == 0 {
		return &errs.Error{Kind: kind, Err: fmt.Errorf("%s: %w", name, err)}
	}
	return AtLine(name, text, line, kind, err)
}

// AtLine is err of the given kind, with the name of the Dockerfile, the number of
// the line and the line itself. No URL of the line shows an account.
func AtLine(name string, text []byte, line int, kind errs.Kind, err error) error {
	excerpt := ""
	lines := strings.Split(string(text), "\n")
	if line >= 1 && line <= len(lines) {
		excerpt = fmt.Sprintf("\n  %4d | %s", line, redact.Text(strings.TrimRight(lines[line-1], "\r")))
	}
	return &errs.Error{Kind: kind, Err: fmt.Errorf("%s:%d: %w%s", name, line, err, excerpt)}
}

// lineOf is the first line that err names, or 0.
func lineOf(err error) int {
	var le *parser.LocationError
	if errors.As(err, &le) {
		for _, rs := range le.Locations {
			for _, r := range rs {
				if r.Start.Line > 0 {
					return r.Start.Line
				}
			}
		}
	}
	return 0
}
