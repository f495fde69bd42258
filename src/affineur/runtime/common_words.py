"""Words that stand in names and are no names by themselves, folded (see :mod:`affineur.runtime.folding`)."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Articles, prepositions and the like, of French and of foreign names.
PARTICLES = _words(
    """
    a al au aux ben bin d da das de del della der des di do dos du e el en et ibn l la las le les los of
    os ould sous sur the un und une van vom von y zu zum zur
    """
)
#: How people are addressed.
TITLES = _words(
    """
    abbe amiral baron baronne capitaine cardinal colonel commandant comte comtesse directeur directrice
    docteur docteure docteurs doctoresse don dona dr drs duc duchesse epouse eveque feu frere general
    interne juge lady lieutenant lord m madame mademoiselle maitre marechal me mere mesdames
    mesdemoiselles messieurs mgr ministre mlle mlles mm mme mmes monseigneur monsieur mr mrs ms ne nee
    nom pape patient patiente pere pr prenom president presidente prince princesse prof professeur
    professeure reine roi saint sainte sergent signe sir soeur st ste veuve
    """
)
#: What begins names of places and organizations, days, months, and words that are everywhere.
GENERIC = _words(
    """
    academie accueil administration affaire affaires age agence aide air an annee annees annexe ans aout
    appel apres arret arrete article association assurance atelier aujourdhui autre autres avant avec
    avenue avis avril banque bas base basse bibliotheque bien bord boulevard bureau cabinet cadre caisse
    car carte cas cause ce cela celle celui central centrale centre ces cet cette chacun chambre champ
    champs chaque charge charte chateau chef chemin chez ci cinq cite clinique club code college combien
    comite comme comment commerce commission commun communaute commune compagnie compte conseil
    consultation contrat contre cote cour cours cure date debut decembre decision delegation demain
    demande departement depuis dernier derniere dessous dessus deux dimanche direction dix docteurs dont
    dossier droit eau eaux ecole ecoles edition eglise elle elles emploi encore enfant enfants ensemble
    entre entree entreprise equipe espace essai est etablissement etage etat etats ete etre etude etudes
    examen exemple facture faculte fait famille federation femme feux fevrier fille fils fin foi fois
    fondation fonds force foret formation frais francais francaise france gare gauche gestion
    gouvernement grand grande grands groupe guerre habitat halle halles haut haute hier histoire homme
    hommes hopital hopitaux horaire hospitalier hospitaliere hotel huit ici il ile iles ils image
    industrie information institut instruction interieur international ja janvier jeu jeudi jeune jeux
    jour journal jours juillet juin justice lac langue lettre lettres leur leurs libre lieu ligne ligue
    liste livre local loi loin long lors lui lundi lycee mai main maintenant mairie mais maison maisons
    mal mandat mardi mars match matin medecin medecine mediatheque meme mer mercredi mes mettre midi
    mille mine ministere mise mission mode moi moins mois mon monde mont monument mort mot moyen musee
    nature neuf ni nom nombre non nord notre nous nouveau nouvelle nouvelles novembre nuit nuits numero
    octobre office on ont operation ordre organisation ou ouest oui ouvert page palais par parc parce
    parent parents parlement parole part parti partie partir pas passage pays paysan peine pendant
    personne personnel peu peuple peut place plage plan plein plus point police politique pont port
    porte ports poste pour pourquoi pouvoir pratique prefecture premier premiere pres presse prix
    problematique procedure programme projet promenade province public publique puis quai quand quartier
    quatre que quel quelle question qui quoi rapport recherche recit region reine reponse republique
    reseau residence resistance reunion revue rien riviere route rue ruelle sa salle samedi sans sante
    science sciences se secteur section securite sein seize semaine sept septembre serie service
    services ses seul si siege six social sociale societe soins soir soit sol son sont sortie source
    sport sports square stade station sud suite suivi sujet syndicat table tant tard tel temps terrasse
    terre tete theatre titre toi ton toujours tour tous tout toute train transport travail travaux tres
    tribunal trois trop type union unite universite urgence urgences usage usine val valeur vallee
    vendredi vers vie vieux village ville villes vingt visite voie voir voiture voix vos votre vous vrai
    vue zone
    """
)
# Names, of families above all, that are words as well.
_AMBIGUOUS = _words(
    """
    normal normale anormal anormale rein reins colon foie poumon ventre genou cheville epaule hanche dos cou
    revient traite prend donne montre reste passe sort vient tient sent pense parle mange dort boit
    stable aigu aigue chronique present presente absent absente positif negatif
    abricot acier agneau aigle aime aimee allegre allemand amant ami amour ancel ange anglais anis arc
    archer argent argile armoise arnica artiste aube auberge auge aurore avoine azur bail bain baiser
    bal balance balle ballon bambou barbe barbier barque barre basset bataille bateau beau beaux bec
    becasse belle berge berger bergere bernache beton bichon bison blanc blanche ble bleu bleuet bloc
    blond blonde bocage boeuf bois bon bonheur bonne bonnet borne boucher bouchon boulanger boule
    bouquet bourgeois bourse bouton bouvier brave breton briand brillant brise brosse brun brune bruyere
    buis buisson caillou calice camelia canard cannelle canon cap capucine carnet caron carre cave cedre
    celeste cerf cerise cerisier chaine champagne champion chance chandelier chandelle chanson chant
    chapeau chapelain chapelle charbonnier charme charpentier charron chasseur chat chaton chaud
    chaumiere chaussee chauve cheval chevalier chevre chevreuil chien choix ciel clair claire clairiere
    clef clemence clement cloche clos cocher coeur coin colin colline colombe combe constance constant
    corail corbeau corde cordier cordonnier corne cornet couleur couronne court courtois cousin couture
    couvreur crepuscule croissant croix cuisinier cygne daim dame dauphin delice desire desiree dieu
    divine domaine don dore doree douce doucet doux dragon drap droite ebene eclair ecuyer eglantine
    emeraude epee epine ermite escalier espagnol esperance etang etoile faible faucon fauvette faux
    felicite fer ferme feu feuille fidele fierte figue flamand flambeau flamme flandre fleur fleurs
    flute fontaine forge forgeron fort fortune fosse fougere four fraise franc france franche froid
    fromage froment fruit fusil gage gai gaillard galant gallois galop garde gardien garnison gerbe
    gilet glaive gloire gomme gourmand grace grain grange gras grave grenier grenouille grillon gris
    grive gros grosse guide haie hameau hardi harmonie heraut herbe hermine heron heureux hibou
    hirondelle hiver honore horizon huissier humble huppe iris ivoire jacinthe jade jardin jardinier
    jasmin jaune joie joli jolie jouet joyeux jument juste lame lance lange larme laurier lavande leger
    legere lent leste levant levrier liberte lievre lilas lin linge lion lis loir loriot loup lourd
    loutre lucarne lumiere lune lys macon magnolia maigre maillet maire malin marchand marche mare
    marechal marguerite mariage marie marin marine marmite maroquin marquis marronnier marteau martinet
    martre mas masse massif maure mauve medaille melisse melon merci mercier merle merlin merveille
    messager metayer meule meunier miel mignon milan millet mimosa miracle modeste moine moineau moisson
    moreau mouche moulin mousse mouton muguet mur muraille mure musicien myrtille nectarine neige nez
    nid nielle noble noce noel noir noire noisette noix normand noyer nuage ocean oeillet oiseau olive
    olivier ombre or orage orange ordonnance orge orme orne ours ouvrier paille pain paix palmier panier
    paon pape papillon paquet paradis pardon parfait paris pascal passerelle passion pasteur patience
    patrice pave pecheur peintre pelerin pelletier pensee perche perdrix perle perron perruche persan
    pervenche petit petite petits pie pied pierre pierres pigeon pin pinson piquet pivoine plante plat
    platane pleine pluie plume poirier pois poisson poitevin poivre pomme pommier porche porcher porte
    potier poudre poulain poule prairie pre premiere pressoir prestige prieur primevere printemps
    prosper prudence prudent prune prunelle prunier puits rabot racine raisin rame rameau ramier rat
    ravin rayon rebelle regent renard reseda reve reveil riant riche rivage rive rivet riviere robe roc
    roche rocher romain romaine roman romarin rond rosaire rose roseau rosee roses rosier rosiere
    rossignol rouet rouge rousse roux royal royale ruban ruche ruisseau rustique sable sabot sage
    sagesse saphir sapin sarrasin saule sauvage savoyard seigneur selle serein sereine serment serpe
    serpent serrurier seve severe sirene soleil sonnet sorbier souci source souris sueur suisse sureau
    tailleur talon tambour tanneur taupe taureau temple tendre terme tilleul tisserand tisseur toile
    tonneau tonnelier tonnerre topaze torche tort tournesol tourneur tourterelle toussaint tranquille
    travers treille tremble tresor triomphe trompette tronc truite tuilier tulipe turc turquoise vache
    vaillant vaillante valet valeureux vannier vasseur veau velours vent verge verger verite vermeil
    verseau vert verte vertu veuf victoire vigne vigneron vignes violet violette violon vive voile
    voisin volant volontaire yeuse zephyr
    """
)
# Words of three letters that are used every day.
_SHORT = _words(
    """
    ado agi aie ail ais ait ame ane api apt art axe bac bai bar bat bel bis bol bus but cil cle col con cor
    cri cru cul dis dit dot due duo dur dus dut ecu elu epi ere etc eut eux fac fan fee fie fil fit flu fol
    fou fui fut gag gaz gel gre gui gym hep hic hot hue hui ion ira jet jug jus kir kit lie lit log lot lue
    mat mec met min mis mit mol mou mue nef nes nie nos nue nul nus ode off oie ose ouf ove pal pan pat pic
    pis pli poe pop pot pro pua pue pur pus put rai rap ras raz rdv rez ria rit riz rot rut sac sas sec sel
    set sic sis ski soi sot sou suc sue tag tan tas tau ter tes tic tir toc top tot tri tua tue tuf tut uni
    uns use vas ver via vif vin vis vit vol vus web yen zen zoo zut
    """
)
#: Words that are a name with a capital alone.
PLAIN = GENERIC | _AMBIGUOUS | _SHORT
