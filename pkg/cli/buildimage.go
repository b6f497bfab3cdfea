// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strconv"
	"time"

	"github.com/proa-containers/proa/pkg/build"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// buildImageFlags change the image beyond what the Dockerfile says.
type buildImageFlags struct {
	env           []string
	inheritLabels bool
	skipUnused    bool
	timestamp     *time.Time // of everything, files included
	epoch         *time.Time
	rewrite       bool
	rewriteFlag   *flagDef
}

func (i *buildImageFlags) register(f *flagSet, o *build.Options) {
	i.inheritLabels, i.skipUnused, i.rewrite = true, true, true
	e := &o.Edits
	f.text(&o.From, "from", "", "Image to use instead of that of the first FROM").suggests(images)
	f.texts(&i.env, "env", "", "Set an environment variable in the image")
	f.texts(&e.UnsetEnv, "unsetenv", "", "Unset an environment variable of the image")
	f.texts(&e.UnsetLabels, "unsetlabel", "", "Unset a label of the image")
	f.boolean(&i.inheritLabels, "inherit-labels", "", "Inherit the labels of the base image")
	f.boolean(&e.NoteCreation, "created-annotation", "", "Annotate the image with the time of its creation")
	f.boolean(&e.DropHistory, "omit-history", "", "Leave the history out of the image")
	f.boolean(&o.Squash, "squash", "", "Squash newly built layers into a single new layer")
	f.boolean(&e.SquashAll, "squash-all", "", "Squash all layers, those of the base image included")
	f.boolean(&i.skipUnused, "skip-unused-stages", "", "Do not build the stages that the target does not need")
	parsed(f, &i.timestamp, "timestamp", "", "int", "Set the time of everything in the image, in seconds since 1970", parseEpoch)
	parsed(f, &i.epoch, "source-date-epoch", "", "int", "The same; SOURCE_DATE_EPOCH is the default", parseEpoch)
	i.rewriteFlag = f.boolean(&i.rewrite, "rewrite-timestamp", "", "Let no file be newer than --source-date-epoch")
}

// fill puts what the flags say into the options of the build.
func (i *buildImageFlags) fill(a *app, o *build.Options) (err error) {
	env, err := spec.ParseEnv(i.env, a.std.Lookup)
	if err != nil {
		return err
	}
	o.Edits.Env = spec.MergeEnv(nil, env, nil)
	if err := a.absolute(&o.IgnoreFile); err != nil {
		return err
	}
	o.Edits.DropLabels, o.AllStages = !i.inheritLabels, !i.skipUnused
	if i.timestamp != nil && i.epoch != nil {
		return errs.WithHint(errs.New(errs.Invalid, "conflicting options: --timestamp and --source-date-epoch"), "leave one of the two away")
	}
	o.Epoch = i.timestamp
	if o.Epoch == nil {
		if o.Epoch, err = i.sourceDate(a, o); err != nil {
			return err
		}
		o.KeepTimes = !i.rewrite
	}
	if o.Epoch == nil && i.rewriteFlag.seen && i.rewrite {
		return errs.WithHint(errs.New(errs.Invalid, "--rewrite-timestamp needs a time"), "add --source-date-epoch SECONDS")
	}
	return nil
}

// sourceDate is --source-date-epoch, else the build argument or the variable
// SOURCE_DATE_EPOCH.
func (i *buildImageFlags) sourceDate(a *app, o *build.Options) (*time.Time, error) {
	if i.epoch != nil {
		return i.epoch, nil
	}
	v, _ := a.std.Lookup("SOURCE_DATE_EPOCH")
	if arg := o.Args["SOURCE_DATE_EPOCH"]; arg != nil {
		v = *arg
	}
	if v == "" {
		return nil, nil
	}
	return parseEpoch(v)
}

func parseEpoch(v string) (*time.Time, error) {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 {
		return nil, errs.New(errs.Invalid, "invalid timestamp %q: it should be seconds since 1970", v)
	}
	t := time.Unix(n, 0).UTC()
	return &t, nil
}
