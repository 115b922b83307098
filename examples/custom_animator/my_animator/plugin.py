"""An animator that paints a puppet."""

from attrs import frozen

from posesyn_core import Component, Kind, hookimpl, option


@frozen
class Config:
    colour: tuple[int, int, int] = option((200, 60, 60), "colour of the puppet, RGB", least=0, most=255)


class Puppet:
    def __init__(self, config):
        self.config = config

    def animate(self, plan):
        import cv2

        from posesyn_core.files.images import load_image
        from posesyn_core.geometry.skeletons import joint_set

        photograph = load_image(plan.reference.image)
        bones = [(a, b) for b, a in enumerate(joint_set("smpl24").parents) if a >= 0]
        for joints in plan.joints2d.round().astype(int):
            thickness = max(2, int(joints[:, 1].max() - joints[:, 1].min()) // 15)
            frame = photograph.copy()
            for a, b in bones:
                cv2.line(frame, joints[a].tolist(), joints[b].tolist(), self.config.colour, thickness, cv2.LINE_AA)
            yield frame


@hookimpl
def register_animators():
    return [Component(Kind.ANIMATOR, "puppet", "Paints a puppet over the reference", Puppet, Config)]
