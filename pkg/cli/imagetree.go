// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/proa-containers/proa/cmd/proa/cli/output"
	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/spec"
)

func imageTreeCommand() *command {
	return &command{
		examples: []string{
			`proa image tree --whatrequires debian   the images that are based on it`,
		},
		name: "tree", args: "IMAGE", short: "Show the layers of an image", min: 1, max: 1,
		setup: func(f *flagSet) action {
			var children bool
			f.boolean(&children, "whatrequires", "", "Show the images that are made on top of it, instead")
			return withEngine(func(_ context.Context, a *app, e imageEngine, args []string) error {
				return imageTree(a, e, args[0], children)
			})
		},
	}
}

func imageTree(a *app, e imageEngine, ref string, children bool) error {
	img, layers, err := e.ImageTree(ref, children)
	if err != nil {
		return err
	}
	a.out.Println("Image ID: " + spec.ShortID(img.ID))
	a.out.Println("Tags:     [" + strings.Join(img.Names, " ") + "]")
	a.out.Println("Size:     " + output.Size(img.Size))
	if len(layers) == 0 {
		a.out.Println("No Image Layers")
		return nil
	}
	a.out.Println("Image Layers")
	printLayers(a, layers, "")
	return nil
}

func printLayers(a *app, layers []libpod.TreeLayer, indent string) {
	for i, l := range layers {
		branch, below := output.Drawn("├── "), output.Drawn("│   ")
		if i == len(layers)-1 {
			branch, below = output.Drawn("└── "), "    "
		}
		line := fmt.Sprintf("%sID: %s Size: %7s", indent+branch, spec.ShortID(l.ID), output.Size(l.Size))
		if len(l.Names) > 0 {
			line += " Top Layer of: [" + strings.Join(l.Names, " ") + "]"
		}
		a.out.Println(line)
		printLayers(a, l.On, indent+below)
	}
}
