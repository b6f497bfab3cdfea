// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"encoding/csv"
	"fmt"
	"strings"

	"github.com/proa-containers/proa/pkg/errs"
)

// The Parse functions turn one value of a flag into a value of this package.
// They do no I/O: what they need from the host (a base directory, environment
// variables, the content of a file) comes in as an argument. Where Docker has
// a sentence for a mistake, the error is that sentence.

// invalid is a rejected value together with the way to write it.
func invalid(hint, format string, args ...any) error {
	return &errs.Error{Kind: errs.Invalid, Err: fmt.Errorf(format, args...), Hint: hint}
}

// unsupported is a value that makes sense to others but not here.
func unsupported(hint, format string, args ...any) error {
	return &errs.Error{Kind: errs.Unsupported, Err: fmt.Errorf(format, args...), Hint: hint}
}

// parseBool reads the value of an option that may stand alone: "ro",
// "ro=true", "ro=0".
func parseBool(key, value string, has bool) (bool, error) {
	if !has {
		return true, nil
	}
	switch strings.ToLower(value) {
	case "1", "t", "true":
		return true, nil
	case "0", "f", "false":
		return false, nil
	}
	return false, invalid("write "+key+"=true or "+key+"=false", "invalid value for %s: %s", key, value)
}

// csvFields splits a comma separated value in which a field may be quoted.
func csvFields(value string) ([]string, error) {
	r := csv.NewReader(strings.NewReader(value))
	fields, err := r.Read()
	if err != nil {
		return nil, invalid("separate the options by commas, and quote one that contains a comma", "cannot split %q: %v", value, err)
	}
	return fields, nil
}
