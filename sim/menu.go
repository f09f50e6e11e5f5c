package sim

import (
	"time"

	"baedal/domain"
)

// CardLimit is what the cards of the town are good for: set the simulated gateway to decline more, and the town's most expensive
// dish is never paid.
const CardLimit domain.Money = 500_000

// The town: three areas, their stores, and what those cook.

type townArea struct {
	id string
	at domain.Place
}

var townAreas = []townArea{
	{"hongdae", domain.Place{Lat: 37.5563, Lon: 126.9236}},
	{"jongno", domain.Place{Lat: 37.5704, Lon: 126.9920}},
	{"gangnam", domain.Place{Lat: 37.4979, Lon: 127.0276}},
}

type townStore struct {
	id, name string
	area     int           // index in townAreas
	auto     bool          // accepts by itself
	cooks    time.Duration // about
	menu     []dish
	at       domain.Place
}

type dish struct {
	id, name string
	price    domain.Money
	stock    int // at the opening, and brought in again when it is sold out
}

var townStores = []*townStore{
	{id: "hongs-kitchen", name: "Hong's kitchen", area: 0, auto: true, cooks: 3 * time.Second, menu: []dish{
		{"kimchi-jjigae", "Kimchi jjigae", 9000, 60}, {"bulgogi", "Bulgogi", 14000, 60}, {"galbi", "Galbi for two", 38000, 6}}},
	{id: "mapo-chicken", name: "마포치킨", area: 0, cooks: 4 * time.Second, menu: []dish{
		{"yangnyeom", "양념치킨", 20000, 60}, {"fried", "후라이드치킨", 18000, 60}, {"half", "반반치킨", 19000, 60}}},
	{id: "pizza-roma", name: "Pizza Roma", area: 0, auto: true, cooks: 5 * time.Second, menu: []dish{
		{"margherita", "Margherita", 16000, 60}, {"bulgogi-pizza", "Bulgogi pizza", 21000, 60}}},
	{id: "jongno-gimbap", name: "종로김밥", area: 1, auto: true, cooks: 2 * time.Second, menu: []dish{
		{"gimbap", "Gimbap", 4000, 90}, {"ramyeon", "Ramyeon", 5000, 90}, {"tteokbokki", "Tteokbokki", 6000, 60}}},
	{id: "insadong-tea", name: "Insadong tea house", area: 1, cooks: 2 * time.Second, menu: []dish{
		{"patbingsu", "Patbingsu", 11000, 4}, {"yuja-cha", "Yuja tea", 6000, 60}, {"hotteok", "Hotteok", 3000, 60}}},
	{id: "palace-banquets", name: "Palace banquets", area: 1, cooks: 5 * time.Second, menu: []dish{
		{"jeongol", "Jeongol", 28000, 60}, {"surasang", "Royal banquet", 900000, 60}}},
	{id: "gangnam-mandu", name: "강남만두", area: 2, auto: true, cooks: 3 * time.Second, menu: []dish{
		{"mandu", "Mandu", 7000, 90}, {"kalguksu", "Kalguksu", 9000, 60}}},
	{id: "bean-bagel", name: "Bean & Bagel", area: 2, cooks: 2 * time.Second, menu: []dish{
		{"bagel", "Salmon bagel", 9000, 60}, {"latte", "Latte", 5000, 90}, {"cheesecake", "Cheesecake", 8000, 5}}},
}
