"""The encoder in a PyTorch project: features by torchvision's ResNet, which can be trained further.

`python -m trainers.export --encoder=encoder.keras --format=torch --output=encoder.safetensors`, then
`python examples/encoder_in_pytorch.py encoder.safetensors resnet50 224 FACE.jpg ...`. Needs torch,
torchvision and safetensors; neither Keras nor keras_emoco is imported.
"""

import argparse

import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file
from torchvision.transforms import v2

arguments = argparse.ArgumentParser(description=__doc__)
arguments.add_argument("weights")
arguments.add_argument("architecture", choices=["resnet18", "resnet34", "resnet50", "resnet101"])
arguments.add_argument("image_size", type=int, help="the model card has it")
arguments.add_argument("pictures", nargs="+")
arguments = arguments.parse_args()

encoder = torchvision.models.get_model(arguments.architecture)
encoder.fc = torch.nn.Identity()
encoder.load_state_dict(load_file(arguments.weights))
encoder.eval()

view = v2.Compose(
    [
        v2.PILToTensor(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Resize((arguments.image_size, arguments.image_size), antialias=True),
        v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ]
)
images = [Image.open(path).convert("RGB") for path in arguments.pictures]
with torch.no_grad():
    features = encoder(torch.stack([view(image) for image in images]))
for path, row in zip(arguments.pictures, features, strict=True):
    print(path, *(f"{value:.4f}" for value in row[:8]), f"... {len(row)} features")
