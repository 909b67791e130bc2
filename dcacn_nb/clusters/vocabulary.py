"""Words for what photos often show, from which clusters get names where no others are given. Chosen by hand."""

_WORDS = """
people, a portrait, a group of people, a child, a baby, a wedding, a party, a concert, a sports match, a crowd,
hands, a face, a dog, a cat, a horse, a cow, a sheep, a bird, a duck, a chicken, a fish, an insect, a butterfly,
a spider, a snake, a frog, a rabbit, a squirrel, a bear, a deer, an elephant, a lion, a tiger, a monkey, a
turtle, a whale, a seashell, an aquarium, a flower, a tree, leaves, grass, mushrooms, a cactus, a garden, a
forest, a field, a mountain, a hill, a desert, a beach, the sea, a lake, a river, a waterfall, a cave, rocks,
snow, ice, clouds, the sky, a sunset, the night sky, stars, the moon, a rainbow, lightning, fog, fire, smoke, a
city, a street, a building, a skyscraper, a house, a church, a temple, a castle, a ruin, a bridge, a tunnel, a
tower, a statue, a fountain, a market, a shop, a restaurant, a museum, a stadium, a playground, a swimming pool,
a harbour, an airport, a railway station, a factory, a farm, a construction site, a wall, a door, a window,
stairs, a roof, a fence, a sign, graffiti, bricks, a pattern, a texture, a kitchen, a living room, a bedroom, a
bathroom, an office, a classroom, a laboratory, a library, a table, a chair, a sofa, a bed, a lamp, a mirror, a
carpet, a curtain, a plant in a pot, a vase, a candle, a clock, food, a meal, a salad, soup, bread, cake, a
dessert, ice cream, fruit, vegetables, meat, cheese, pizza, pasta, rice, sushi, eggs, coffee, tea, wine, beer, a
bottle, a cup, a plate, a bowl, a spoon, a knife, a can, a jar, a box, a bag, packaging, paper, cardboard,
plastic, glass, metal, wood, fabric, rubbish, a car, a truck, a bus, a motorcycle, a bicycle, a train, a tram,
an aeroplane, a helicopter, a ship, a boat, a sailing boat, a tractor, an engine, a wheel, a road, clothes, a
shirt, a T-shirt, a dress, trousers, a skirt, a coat, a jumper, shoes, boots, sandals, a hat, a handbag,
glasses, jewellery, a watch, a uniform, a costume, a computer, a laptop, a keyboard, a screen, a telephone, a
camera, a television, a screenshot, a circuit board, cables, a tool, a machine, a musical instrument, a guitar,
a piano, a toy, a doll, a ball, a balloon, a book, a newspaper, a magazine, a page of text, handwriting, a
letter, a receipt, a form, a map, a chart, a diagram, a drawing, a painting, a poster, a cartoon, a logo, a
stamp, coins, banknotes, a card, a sculpture, a digit, a letter of the alphabet, a microscope image, an X-ray, a
medical scan, a satellite image, an aerial view, cells, a rock sample, a crystal
"""

VOCABULARY = [" ".join(word.split()) for word in _WORDS.split(",")]  # as they stand in "a photo of ..."
