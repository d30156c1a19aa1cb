import numpy as np
import tensorflow as tf

from tflm.losses import adversarial
from tflm.losses import reconstruction


def _l1(batch, prediction):
    return {
        "loss": reconstruction.masked_l1(
            batch["target"], prediction, batch["mask"]
        )
    }


def _images(seed: int) -> tf.Tensor:
    return tf.random.stateless_uniform([2, 32, 32, 3], seed=(seed, 0))


def _batch() -> dict[str, tf.Tensor]:
    mask = tf.ones([2, 32, 32, 1])
    return {"source": _images(1), "target": _images(2), "mask": mask}


def _with_logits(loss: adversarial.AdversarialLoss, logit: float) -> None:
    """Makes the discriminator answer `logit` to whatever it sees."""
    head = loss.discriminator.layers[-1]
    head.kernel.assign(tf.zeros_like(head.kernel))
    head.bias.assign([logit])


class AdversarialLossTest(tf.test.TestCase):
    def test_by_hand(self):
        loss = adversarial.AdversarialLoss(_l1, weight=0.5)
        _with_logits(loss, np.log(3.0))  # Three quarters sure of a target.
        batch = _batch()
        found = loss(batch, batch["target"] + 0.25)
        fooling = np.log(4.0 / 3.0)
        self.assertAllClose(found["loss/pixel"], 0.25)
        self.assertAllClose(found["adversarial/generator"], fooling)
        self.assertAllClose(found["loss"], 0.25 + 0.5 * fooling)

        found = loss.train_discriminator(batch, batch["target"] + 0.25)
        self.assertAllClose(
            found["adversarial/discriminator"], (fooling + np.log(4.0)) / 2
        )

    def test_the_discriminator_learns_and_the_generator_can_fool_it(self):
        loss = adversarial.AdversarialLoss(_l1, weight=1.0)
        batch, fake = _batch(), _images(3) * 0.5
        first = loss.train_discriminator(batch, fake)
        for _ in range(9):
            last = loss.train_discriminator(batch, fake)
        self.assertLess(
            last["adversarial/discriminator"],
            0.7 * first["adversarial/discriminator"],
        )
        fooling = {
            name: loss(batch, image)["adversarial/generator"]
            for name, image in (("fake", fake), ("target", batch["target"]))
        }
        self.assertLess(fooling["target"], fooling["fake"])

    def test_calling_it_trains_nothing(self):
        loss = adversarial.AdversarialLoss(_l1, weight=1.0)
        before = [v.numpy() for v in loss.discriminator.trainable_variables]
        loss(_batch(), _images(3))
        after = loss.discriminator.trainable_variables
        for one, other in zip(before, after):
            self.assertAllEqual(one, other)

    def test_what_is_masked_cannot_be_seen(self):
        loss = adversarial.AdversarialLoss(_l1, weight=1.0)
        mask = np.ones([2, 32, 32, 1], np.float32)
        mask[:, :16] = 0.0
        batch = {**_batch(), "mask": tf.constant(mask)}
        reconstruction = _images(3)
        changed = {**batch, "target": batch["target"] + 9.0 * (1.0 - mask)}
        parts = [
            {
                **loss(other, reconstruction + offset * (1.0 - mask)),
                **adversarial.AdversarialLoss(_l1, 1.0).train_discriminator(
                    other, reconstruction + offset * (1.0 - mask)
                ),
            }
            for other, offset in ((batch, 0.0), (changed, 5.0))
        ]
        for name, value in parts[0].items():
            self.assertAllClose(value, parts[1][name], atol=1e-6)

    def test_the_reconstruction_gets_a_gradient_of_both_terms(self):
        loss = adversarial.AdversarialLoss(_l1, weight=1.0)
        reconstruction = tf.Variable(_images(3))
        with tf.GradientTape(persistent=True) as tape:
            found = loss(_batch(), reconstruction)
        for name in ("loss/pixel", "adversarial/generator"):
            gradient = tape.gradient(found[name], reconstruction)
            self.assertGreater(tf.norm(gradient), 0.0)

    def test_a_weight_that_is_not_positive_is_refused(self):
        with self.assertRaisesRegex(ValueError, "positive, got 0.0"):
            adversarial.AdversarialLoss(_l1, 0.0)


if __name__ == "__main__":
    tf.test.main()
