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
	parsed(f, &i.timestamp, "timestamp", "", "int", "Set the time of everything in the image, in seconds since 1970",
		build.ParseEpoch)
	parsed(f, &i.epoch, "source-date-epoch", "", "int", "Set the time of the image, and the argument of this name (default: $SOURCE_DATE_EPOCH)",
		build.ParseEpoch)
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
		return errs.WithHint(errs.New(errs.Invalid, "conflicting options: --timestamp and --source-date-epoch"), "omit one of the two")
	}
	o.Epoch = i.timestamp
	if o.Epoch == nil {
		if o.Epoch, err = i.sourceDate(a, o); err != nil {
			return err
		}
		o.KeepTimes = !i.rewrite
	}
	o.NeedEpoch = i.rewriteFlag.seen && i.rewrite // the Dockerfile may say it
	return nil
}

// sourceDate is --source-date-epoch, else the build argument or the variable SOURCE_DATE_EPOCH. The
// argument gets its value: an ARG of that name sees it.
func (i *buildImageFlags) sourceDate(a *app, o *build.Options) (*time.Time, error) {
	const name = "SOURCE_DATE_EPOCH"
	v, _ := a.std.Lookup(name)
	if arg := o.Args[name]; arg != nil {
		v = *arg
	}
	if i.epoch != nil {
		v = strconv.FormatInt(i.epoch.Unix(), 10)
	}
	if v == "" {
		return nil, nil
	}
	o.Args[name] = &v
	return build.ParseEpoch(v)
}
