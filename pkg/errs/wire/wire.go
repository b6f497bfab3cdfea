// SPDX-License-Identifier: Apache-2.0

// Package wire carries an error over a pipe or a socket, as JSON.
package wire

import (
	"errors"

	"github.com/proa-containers/proa/pkg/errs"
)

// Error is an errs.Error on its way: kind, sentence and hint.
type Error struct {
	Kind    errs.Kind `json:"kind"`
	Message string    `json:"message"`
	Hint    string    `json:"hint,omitempty"`
}

// New flattens err; it returns nil for nil.
func New(err error) *Error {
	if err == nil {
		return nil
	}
	return &Error{Kind: errs.KindOf(err), Message: err.Error(), Hint: errs.HintOf(err)}
}

// Err is the error as it was made on the other side; nil for nil.
func (w *Error) Err() error {
	if w == nil {
		return nil
	}
	return &errs.Error{Kind: w.Kind, Err: errors.New(w.Message), Hint: w.Hint}
}
