// SPDX-License-Identifier: Apache-2.0

package cli

import "context"

func tagCommand() *command {
	return &command{
		examples: []string{
			`proa tag web registry.example.com/me/web:1.0   a name to push it by`,
		},
		name: "tag", args: "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG] [TARGET_IMAGE[:TAG]...]", short: "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
		min: 2, max: -1, twin: "image tag",
		setup: func(*flagSet) action {
			return withEngine(func(ctx context.Context, a *app, e imageEngine, args []string) error {
				return a.each(args[1:], func(name string) error { return e.Tag(ctx, args[0], name) })
			})
		},
	}
}

func untagCommand() *command {
	return &command{
		name: "untag", args: "IMAGE [NAME...]", short: "Take names from an image without deleting it", min: 1, max: -1, twin: "image untag",
		setup: func(*flagSet) action {
			return withEngine(func(ctx context.Context, a *app, e imageEngine, args []string) error {
				return e.Untag(ctx, args[0], args[1:]...)
			})
		},
	}
}
