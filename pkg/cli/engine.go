// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/proa-containers/proa/pkg/errs"
)

// engineOf opens the engine on first use. E is the part of it that the command
// uses.
func engineOf[E any](ctx context.Context, a *app) (e E, err error) {
	if a.eng == nil {
		opened, err := a.opener(ctx, a)
		if err != nil {
			return e, &statusError{err, 125}
		}
		a.eng = opened
	}
	e, ok := a.eng.(E)
	if !ok {
		return e, errs.New(errs.Internal, "the engine cannot do this")
	}
	return e, nil
}

// withEngine is an action that begins with the engine.
func withEngine[E any](do func(ctx context.Context, a *app, e E, args []string) error) action {
	return func(ctx context.Context, a *app, args []string) error {
		e, err := engineOf[E](ctx, a)
		if err != nil {
			return err
		}
		return do(ctx, a, e, args)
	}
}
