"""A text of many kinds, from which a model's usual hidden states are found; see docs/exact_head.md.

It decides how fast an exact output head is, never what it gives.
"""

from __future__ import annotations

TEXT = """\
The harbour master wrote down every boat that came in before the storm. Seven had nets, two carried timber, and one,
the smallest, had nothing on board but a dog and a sleeping boy. "Whose is it?" he asked. Nobody on the quay could say.

How do I keep bread fresh for longer?
Here are a few things that help:
1. **Let it cool** completely before you wrap it; steam makes the crust soft and invites mould.
2. Keep it in a cloth or paper bag at room temperature, never in the refrigerator.
3. Freeze what you will not eat within two days, in slices, so that you can toast them one at a time.

In 1869 Dmitri Mendeleev ordered the 63 elements known then by atomic weight and left gaps where none fitted. Gallium,
found in 1875, filled the first: its density was 5.9 grams per cubic centimetre, as he had predicted. Light travels
299,792 kilometres in a second, so sunlight is a little over eight minutes old when it reaches the Earth.

```python
def moving_average(values: list[float], width: int) -> list[float]:
    # Means of all windows of `width` neighbours.
    if width < 1 or width > len(values):
        raise ValueError(f"width is {width}, expected 1 to {len(values)}")
    total = sum(values[:width])
    means = [total / width]
    for old, new in zip(values, values[width:]):
        total += new - old
        means.append(total / width)
    return means
```

If 3x + 7 = 22, then 3x = 15 and x = 5. The area of a circle with radius 4 is 16 pi, about 50.27. A train that leaves
at 9:40 and needs 2 hours and 35 minutes arrives at 12:15.

Der Zug nach Hamburg war voll, und im Speisewagen gab es nur noch Kaffee. Sie setzte sich ans Fenster und las.
Le matin, la boulangerie ouvre à six heures ; on sent le pain chaud jusqu'au bout de la rue.
El río crece en primavera, cuando la nieve de las montañas se derrite y los campos vuelven a ser verdes.
Вечером дети собрались у костра и слушали старую сказку о волке и хитрой лисе.
春天来了,公园里的花都开了,孩子们在湖边放风筝。 彼女は毎朝、駅まで歩いてから電車に乗ります。

{"name": "water pump", "price": 149.90, "in_stock": true, "tags": ["garden", "electric"], "weight_kg": 3.2}

Dear Ms Okafor, thank you for your letter of 12 March. We have checked the invoice and you are right: the second item
was counted twice. The difference of $38.50 will be on your account by Friday. Please accept our apologies.

<p>The <a href="/museum">museum</a> is open from Tuesday to Sunday.</p> Tickets cost 8 euros; children pay half.

A: I thought the film was too long. B: Really? I could have watched another hour! The ending surprised me, though.
Because the committee could not agree on a budget, the vote was put off until the autumn, which pleased only those who
had opposed the bridge from the beginning. Economists expect prices to rise by 2 to 3 percent next year, while wages
in most industries will hardly change. Doctors advise adults to sleep for seven to nine hours and to walk every day.

The heart pumps blood through two circuits: one to the lungs, where it takes up oxygen, and one to the rest of the body.
SELECT city, COUNT(*) AS visits FROM trips WHERE year = 2021 GROUP BY city ORDER BY visits DESC LIMIT 10;
"""
