// SPDX-License-Identifier: Apache-2.0

package cli

const (
	groupCommon     = "Common Commands"
	groupManagement = "Management Commands"
)

// tree is every command of proa.
func tree() *command {
	return &command{
		name: "proa", short: "Containers without a daemon and without root",
		long: "PROA_DATA_DIR and PROA_RUN_DIR in the environment say where everything is kept, as --data-dir and\n--run-dir do.",
		sub: []*command{
			runCommand().in(groupCommon), execCommand().in(groupCommon), psCommand().in(groupCommon), buildCommand().in(groupCommon), pullCommand().in(groupCommon),
			pushCommand().in(groupCommon), imagesCommand().in(groupCommon), searchCommand().in(groupCommon), loginCommand().in(groupCommon), logoutCommand().in(groupCommon), versionCommand().in(groupCommon), infoCommand().in(groupCommon),
			containerCommand().in(groupManagement), imageCommand().in(groupManagement), artifactCommand().in(groupManagement), builderCommand().in(groupManagement), manifestCommand().in(groupManagement), systemCommand().in(groupManagement), volumeCommand().in(groupManagement),
			attachCommand(), commitCommand(), completionCommand(), createCommand(), diffCommand(), exportCommand(), historyCommand(), importCommand(), inspectCommand(), killCommand(), loadCommand(), logsCommand(), mountCommand(),
			pauseCommand(), portCommand(), renameCommand(), restartCommand(), rmCommand(), rmiCommand(), saveCommand(), startCommand(), stopCommand(),
			tagCommand(), topCommand(), unmountCommand(), unpauseCommand(), unshareCommand(), untagCommand(), waitCommand(),
			completeCommand(),
		},
	}
}

func containerCommand() *command {
	return &command{
		name: "container", short: "Manage containers",
		sub: []*command{
			attachCommand(), commitCommand(), createCommand(), containerDiffCommand(), execCommand(), exportCommand(), exister("CONTAINER", "Tell by the exit status whether a container exists", lookupContainer),
			containerInspectCommand(), killCommand(), logsCommand(), mountCommand(), psCommand().as("ls", "list", "ps"), pauseCommand(), portCommand(), containerPruneCommand(),
			renameCommand(), restartCommand(), rmCommand(), runCommand(), startCommand(), stopCommand(), topCommand(), unmountCommand(), unpauseCommand(), waitCommand(),
		},
	}
}

func imageCommand() *command {
	return &command{
		name: "image", short: "Manage images",
		sub: []*command{
			buildCommand(), imageDiffCommand(),
			exister("IMAGE", "Tell by the exit status whether an image exists", lookupImage), historyCommand(), importCommand(),
			inspector("image", "IMAGE [IMAGE...]", "Display detailed information on one or more images"), loadCommand(),
			imagesCommand().as("ls", "list"), imageMountCommand(), imagePruneCommand(), pullCommand(), pushCommand(), rmiCommand().as("rm", "remove"), saveCommand(), imageScpCommand(), searchCommand(), tagCommand(), imageSignCommand(), imageTreeCommand(), imageTrustCommand(), imageUnmountCommand(), untagCommand(),
		},
	}
}
