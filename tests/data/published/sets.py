"""All published datasets that tench is tested on, and torchvision's datasets that are not for classification."""

from tests.data.published import arrays, classed, elsewhere, labelled
from tests.data.published.making import Form, Published

TORCHVISION: list[Published] = sorted([*arrays.SETS, *classed.SETS, *labelled.SETS], key=lambda one: one.name.lower())
ELSEWHERE: list[Published] = sorted(elsewhere.SETS, key=lambda one: one.name.lower())
SETS = [*TORCHVISION, *ELSEWHERE]

FORMS: dict[str, tuple[Published, Form]] = {
    f"{published.name}: {form.what} {form.flags}".strip(): (published, form)
    for published in SETS
    for form in published.forms
}

OUT_OF_SCOPE = {
    "videos": "HMDB51 Kinetics MovingMNIST UCF101",
    "captions": "CocoCaptions Flickr8k Flickr30k SBU",
    "boxes": "CocoDetection Kitti WIDERFace",
    "masks": "Cityscapes SBDataset VOCSegmentation",
    "pairs of images or patches": "LFWPairs PhotoTour",
    "optical flow": "FlyingChairs FlyingThings3D HD1K KittiFlow Sintel",
    "stereo": "CREStereo CarlaStereo ETH3DStereo FallingThingsStereo InStereo2k Kitti2012Stereo Kitti2015Stereo "
    "Middlebury2014Stereo SceneFlowStereo SintelStereo",
    "tools, not datasets": "DatasetFolder FakeData ImageFolder LSUNClass VisionDataset wrap_dataset_for_transforms_v2",
}
"""torchvision's other readers: what their datasets contain, and their names."""
