// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/proa-containers/proa/pkg/cli/output"
)

func imageTreeCommand() *command {
	return &command{
		name: "tree", args: "IMAGE", short: "Show the layers of an image", min: 1, max: 1,
		setup: func(*flagSet) action {
			return func(ctx context.Context, a *app, args []string) error { return imageTree(ctx, a, args[0]) }
		},
	}
}

func imageTree(ctx context.Context, a *app, ref string) error {
	e, err := a.engine(ctx)
	if err != nil {
		return err
	}
	img, layers, err := e.ImageTree(ref)
	if err != nil {
		return err
	}
	a.out.Println("Image ID: " + output.ShortID(img.ID))
	a.out.Println("Tags:     [" + strings.Join(img.Names, " ") + "]")
	a.out.Println("Size:     " + output.Size(img.Size))
	if len(layers) == 0 {
		a.out.Println("No Image Layers")
		return nil
	}
	a.out.Println("Image Layers")
	for i, l := range layers {
		line := "├── "
		if i == len(layers)-1 {
			line = "└── "
		}
		line += fmt.Sprintf("ID: %s Size: %7s", output.ShortID(l.ID), output.Size(l.Size))
		if len(l.Names) > 0 {
			line += " Top Layer of: [" + strings.Join(l.Names, " ") + "]"
		}
		a.out.Println(line)
	}
	return nil
}
